// Links the Node that npm brought to node_modules/.bin/node, where `npm run` looks first.
// Not needed where npm did it already: npm 10 removes the link again, because the package of the other processor
// that it skips has a program of the same name. Plain JavaScript, because an old Node runs it.
import { existsSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const modules = fileURLToPath(new URL("../node_modules", import.meta.url));
const program = join(modules, `node-${process.platform}-${process.arch}`, "bin", "node");
const link = join(modules, ".bin", "node");

if (existsSync(program) && !existsSync(link)) {
  mkdirSync(dirname(link), { recursive: true });
  // A link that leads nowhere does not "exist", but stands in the way.
  rmSync(link, { force: true });
  symlinkSync(relative(dirname(link), program), link);
}
