"""A unary gRPC call with the C core's own HTTP/2: `grpc_client.py TARGET METHOD`, metadata as JSON on standard input.

Prints {"code": ..., "details": ..., "answer": ...}.
"""

import json
import sys

import grpc

channel = grpc.insecure_channel(sys.argv[1])
call = channel.unary_unary(sys.argv[2], request_serializer=lambda text: text, response_deserializer=lambda text: text)
metadata = [(name, value) for name, value in json.load(sys.stdin)]
try:
    answer = call(b"hello", metadata=metadata, timeout=30)
    print(json.dumps({"code": "OK", "details": "", "answer": json.loads(answer)}))
except grpc.RpcError as error:
    print(json.dumps({"code": error.code().name, "details": error.details(), "answer": None}))
