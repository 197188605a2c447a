// Makes the page in dist/ui/ for a program that runs from its sources; `npm run build` makes it with the programs.
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildPage } from "./page-bundle.ts";

await buildPage(join(fileURLToPath(new URL("..", import.meta.url)), "dist", "ui"));
