// Holds a JSON list of resources of Istio and of the Gateway API against their schemas: values by the validators that were made
// of them, names by the types that were made of them (an unknown field is an error).
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const packages = { "istio.io": "@kubernetes-models/istio", "gateway.networking.k8s.io": "@kubernetes-models/gateway-api" };

function moduleOf({ apiVersion }) {
  const family = Object.keys(packages).find((suffix) => apiVersion.split("/")[0].endsWith(suffix));
  return `${packages[family]}/${apiVersion}`;
}

const name = (resource) => `${resource.kind} ${resource.metadata.name}`;
const resources = JSON.parse(readFileSync(process.argv[2], "utf8"));
const errors = [];

for (const resource of resources) {
  const { [resource.kind]: Model } = await import(moduleOf(resource));
  try {
    new Model(resource).validate();
  } catch (error) {
    errors.push(`${name(resource)}: ${error.message}`);
  }
}

// Beside the packages, where TypeScript finds them.
const file = fileURLToPath(new URL(`resources-${process.pid}.ts`, import.meta.url));
const typed = resources.map(
  (resource, index) =>
    `import type { I${resource.kind} as T${index} } from "${moduleOf(resource)}";\n` +
    `export const r${index}: T${index} = ${JSON.stringify(resource)};`,
);
writeFileSync(file, typed.join("\n"));
const options = { noEmit: true, strict: true, skipLibCheck: true, types: [], module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2022 };
for (const { messageText } of ts.getPreEmitDiagnostics(ts.createProgram([file], options))) {
  errors.push(ts.flattenDiagnosticMessageText(messageText, "\n"));
}
writeFileSync(file, "");

if (errors.length > 0) {
  console.error(errors.join("\n"));
  process.exit(1);
}
