// The kit in Pyodide: what the page and its test call. Python takes and gives JSON.

const START = `
import json, sys
sys.path.insert(0, "/kit")
from metarfft_core.lab import view

def kit_options(_):
    return view.options()

def kit_answer(asked):
    return view.answer(asked["request"], position=asked["position"])

def kit_judged(asked):
    try:
        return {"false": view.judged(asked["request"], asked["text"])}
    except ValueError as error:
        return {"problem": str(error)}

def kit_call(name, argument):
    return json.dumps(globals()["kit_" + name](json.loads(argument)))
`;

/** Start Python with the kit; returns a function of (name, argument) that gives the answer. */
export async function start(loadPyodide, options, archive) {
  const pyodide = await loadPyodide(options);
  pyodide.unpackArchive(archive, "zip", { extractDir: "/kit" });
  pyodide.runPython(START);
  const call = pyodide.globals.get("kit_call");
  return (name, argument = null) => JSON.parse(call(name, JSON.stringify(argument)));
}
