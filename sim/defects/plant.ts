// Plants a defect: with `--import` this module, the environment variable SIM_DEFECT names an entry of defects.ts, and the places that
// it describes are replaced while the files are loaded. The sources on disk are never touched.

import { registerHooks } from "node:module";
import { vipDefects } from "../vip/defects.ts";
import { defects, editsOf, plantInto } from "./defects.ts";

const name = process.env["SIM_DEFECT"];
if (name !== undefined && name !== "") {
  const defect = [...defects, ...vipDefects].find((each) => each.name === name);
  if (defect === undefined)
    throw new Error(`SIM_DEFECT=${name} is not a planted defect; see sim/defects/defects.ts`);
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      const edits = editsOf(defect).filter(({ file }) => url.endsWith(`/${file}`));
      if (edits.length === 0 || loaded.source === undefined || loaded.source === null) {
        return loaded;
      }
      const source =
        typeof loaded.source === "string"
          ? loaded.source
          : Buffer.from(loaded.source as Uint8Array).toString("utf8");
      return {
        ...loaded,
        source: edits.reduce((text, edit) => plantInto(text, defect.name, edit), source),
      };
    },
  });
}
