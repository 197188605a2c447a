// Plants a defect: with `--import` this module, the environment variable SIM_DEFECT names an entry of defects.ts, and the one place that
// it describes is replaced while the file is loaded. The sources on disk are never touched.

import { registerHooks } from "node:module";
import { defects, plantInto } from "./defects.ts";

const name = process.env["SIM_DEFECT"];
if (name !== undefined && name !== "") {
  const defect = defects.find((each) => each.name === name);
  if (defect === undefined)
    throw new Error(`SIM_DEFECT=${name} is not a planted defect; see sim/defects/defects.ts`);
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (
        !url.endsWith(`/${defect.file}`) ||
        loaded.source === undefined ||
        loaded.source === null
      ) {
        return loaded;
      }
      const source =
        typeof loaded.source === "string"
          ? loaded.source
          : Buffer.from(loaded.source as Uint8Array).toString("utf8");
      return { ...loaded, source: plantInto(source, defect) };
    },
  });
}
