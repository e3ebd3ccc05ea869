"""Holds a JSON list of resources against Kubernetes' schemas, strictly: an unknown field is an error."""

import json
import sys

import kubernetes_validate

VERSION = "1.37"

with open(sys.argv[1]) as file:
    resources = json.load(file)
for resource in resources:
    try:
        kubernetes_validate.validate(resource, VERSION, strict=True)
    except Exception as error:
        sys.exit(f"{resource['kind']} {resource['metadata']['name']}: {getattr(error, 'message', error)}")
