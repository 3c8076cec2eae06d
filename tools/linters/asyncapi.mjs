// Validates an AsyncAPI document with the official parser: node asyncapi.mjs FILE
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [file] = process.argv.slice(2);
const require = createRequire(join(process.cwd(), "package.json"));
const { Parser } = require("@asyncapi/parser");
const { document, diagnostics } = await new Parser().parse(readFileSync(file, "utf8"));
const names = ["error", "warning", "info", "hint"];
for (const { severity, code, message, path } of diagnostics) {
  console.log(`${names[severity]}  ${code}  ${path.join(".")}  ${message}`);
}
const errors = diagnostics.filter(({ severity }) => severity === 0).length;
console.log(`${file}: ${errors} errors, ${diagnostics.length - errors} other findings`);
process.exit(errors || !document ? 1 : 0);
