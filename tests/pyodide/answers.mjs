// What the kit answers in Pyodide: reads a list of [name, argument] and writes the answers.
//     node answers.mjs KIT.mjs METARFFT.zip CALLS.json ANSWERS.json

import { readFileSync, writeFileSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { loadPyodide } from "pyodide";

globalThis.fetch = () => { throw new Error("nothing is fetched here"); };
const [kit, archive, asked, answered] = process.argv.slice(2);
try {
  const { start } = await import(pathToFileURL(kit));
  const call = await start(loadPyodide, {}, new Uint8Array(readFileSync(archive)));
  const calls = JSON.parse(readFileSync(asked, "utf-8"));
  writeFileSync(answered, JSON.stringify(calls.map((one) => call(...one))));
} catch (error) { // Node would print the whole of Pyodide's one line of code
  writeSync(2, `${error.message}\n`);
  process.exitCode = 1;
}
