// The import fences of ARCHITECTURE.md as rules: which folder may import which, no cycles, no orphans.
// Not the place for style; test/tidy.test.ts holds what imports alone cannot say.
import swc from "@swc/core/Visitor.js";

// dependency-cruiser walks swc's tree with swc's own visitor, which does not know `using` declarations yet
// and throws at the first one. They hold expressions like any declaration.
// oxlint-disable-next-line typescript/no-deprecated -- it is the one that dependency-cruiser uses
const { prototype } = swc.Visitor;
const visitStatement = prototype.visitStatement;
prototype.visitStatement = function visitStatementOrUsing(statement) {
  if (statement.type !== "UsingDeclaration") return visitStatement.call(this, statement);
  this.visitVariableDeclarators(statement.decls);
  return statement;
};

const TEST_FILE = "[.]test[.]ts$";
const TYPEBOX = "node_modules/typebox/";

/**
 * A rule that a folder of src may import only what is listed. Tests beside the code are free.
 * `folder` is a name below src or an alternation of names; `allowed` are regular expressions.
 */
const mayImportOnly = (name, folder, allowed, comment) => ({
  name,
  comment,
  severity: "error",
  from: { path: `^src/${folder}/`, pathNot: TEST_FILE },
  to: { pathNot: allowed },
});

export default {
  forbidden: [
    // ---- the table -------------------------------------------------------------------------------
    mayImportOnly(
      "core-imports-nothing",
      "core",
      ["^src/core/"],
      "Decisions must be repeatable from their arguments alone: no I/O, no clock, no chance, no Kubernetes. " +
        "What core needs to know of the world is handed in as a plain value.",
    ),
    mayImportOnly(
      "wire-imports-core",
      "wire",
      ["^src/core/", "^src/wire/", TYPEBOX],
      "Formats that others fixed are pure text <-> core types, so that a golden file can hold each of them.",
    ),
    mayImportOnly(
      "ports-import-core",
      "ports",
      ["^src/core/", "^src/ports/"],
      "A port says in the words of core what a use case asks of the world; a technology in its signature " +
        "would make every adapter depend on that technology.",
    ),
    mayImportOnly(
      "use-cases-import-core-and-ports",
      "(ipam|vip|node)",
      ["^src/core/", "^src/ports/", "^src/(ipam|vip|node)/"],
      "Use cases run unchanged on the real cluster, in memory and in the simulator; that holds only while " +
        "they see the world through ports.",
    ),
    {
      name: "use-cases-stay-apart",
      comment:
        "Control plane addresses, shared virtual IPs and the node side are three programs' worth of use cases; " +
        "they meet in a composition root, not in each other.",
      severity: "error",
      from: { path: "^src/(ipam|vip|node)/", pathNot: TEST_FILE },
      to: { path: "^src/(ipam|vip|node)/", pathNot: "^src/$1/" },
    },
    {
      name: "ipam-is-a-star",
      comment:
        "The use cases stand around the one writer. If they called each other, the order of two changes to one " +
        "address would depend on a call chain instead of on the pod's queue. ipam-service puts them together, and " +
        "nothing in ipam imports it back.",
      severity: "error",
      from: { path: "^src/ipam/", pathNot: ["^src/ipam/ipam-service[.]ts$", TEST_FILE] },
      to: { path: "^src/ipam/", pathNot: "^src/ipam/(allocator|keyed-queue)[.]ts$" },
    },
    {
      name: "adapters-do-not-know-each-other",
      comment:
        "One folder per technology, each exchangeable on its own. What two of them share belongs to core, wire or a port.",
      severity: "error",
      from: { path: "^src/adapters/([^/]+)/", pathNot: TEST_FILE },
      to: { path: "^src/adapters/", pathNot: "^src/adapters/$1/" },
    },
    {
      name: "only-doors-call-use-cases",
      comment:
        "Calls come in through adapters/http alone; every other adapter is called by the use cases through a port. " +
        "A store that called a use case would turn the arrows around.",
      severity: "error",
      from: { path: "^src/adapters/", pathNot: ["^src/adapters/http/", TEST_FILE] },
      to: { path: "^src/(ipam|vip|node)/" },
    },
    {
      name: "cli-talks-http-only",
      comment:
        "galaxyctl and the page see what any client of the HTTP API sees; a shortcut into the server would hide gaps of the API.",
      severity: "error",
      from: { path: "^(src/cli|ui)/", pathNot: TEST_FILE },
      to: { path: "^src/", pathNot: "^src/(cli|wire|core)/" },
    },
    {
      name: "bin-is-imported-by-nobody",
      comment:
        "A composition root starts a program when it is loaded; whatever is worth sharing does not belong there.",
      severity: "error",
      from: { pathNot: ["^src/bin/", TEST_FILE, "^test/"] },
      to: { path: "^src/bin/" },
    },
    {
      name: "bins-stand-alone",
      comment:
        "One program, one file, and a folder of its name when its parts are many: a program that loads another one starts it.",
      severity: "error",
      from: { path: "^src/bin/([^/.]+)", pathNot: TEST_FILE },
      // The plugins of the node are one program under several names.
      to: { path: "^src/bin/", pathNot: "^src/bin/(?:$1|galaxy-plugins)/" },
    },
    {
      name: "src-does-not-import-its-surroundings",
      comment:
        "sim, test, bench, scripts and ui are users of the product. The product must build without them.",
      severity: "error",
      from: { path: "^src/", pathNot: TEST_FILE },
      to: { path: "^(sim|test|bench|scripts|ui|examples)/" },
    },
    {
      name: "tests-are-leaves",
      comment: "A test file is run, not imported: importing it would run its tests twice.",
      severity: "error",
      from: {},
      to: { path: TEST_FILE },
    },

    // ---- packages --------------------------------------------------------------------------------
    {
      name: "official-client-only-on-demand",
      comment:
        "@kubernetes/client-node costs 84 MB and 0.9 s on import and is needed only to read a kubeconfig: " +
        "adapters/kubernetes loads it with import() when one is given. Types cost nothing.",
      severity: "error",
      from: { path: "^src/", pathNot: TEST_FILE },
      to: {
        path: "node_modules/@kubernetes/client-node",
        dynamic: false,
        dependencyTypesNot: ["type-only"],
      },
    },
    {
      name: "official-client-in-one-adapter",
      comment:
        "Kubernetes credentials are the business of adapters/kubernetes, and of the one file of the command line that finds the server " +
        "through a kubeconfig.",
      severity: "error",
      from: {
        path: "^src/",
        pathNot: ["^src/adapters/kubernetes/", "^src/cli/kubeconfig[.]ts$", TEST_FILE],
      },
      to: { path: "node_modules/@kubernetes/client-node" },
    },
    {
      name: "no-development-packages-in-the-product",
      comment: "What src imports must be installed with the product.",
      severity: "error",
      from: { path: "^src/", pathNot: TEST_FILE },
      to: { dependencyTypes: ["npm-dev"], dependencyTypesNot: ["type-only"] },
    },
    {
      name: "no-undeclared-packages",
      comment: "A package that only another package brings can vanish with its next version.",
      severity: "error",
      from: {},
      to: { dependencyTypes: ["npm-no-pkg", "npm-unknown"] },
    },
    {
      name: "everything-resolves",
      comment: "An import that points nowhere is a file that was not committed.",
      severity: "error",
      from: {},
      to: { couldNotResolve: true },
    },

    // ---- shape -----------------------------------------------------------------------------------
    {
      name: "no-cycles",
      comment: "Files in a circle can only be understood, tested and changed together.",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    {
      name: "no-orphans",
      comment: "A file that nothing imports and that imports nothing is not part of the program.",
      severity: "error",
      from: { orphan: true, pathNot: [TEST_FILE, "[.]d[.]ts$", "^scripts/", "^bench/"] },
      to: {},
    },
    {
      name: "source-is-used-by-source",
      // The in-memory adapters are the fakes of the tests and the simulator: no program needs to use them.
      comment: "A file of src that no program reaches is kept alive by its test only.",
      severity: "error",
      module: {
        path: "^src/",
        pathNot: [TEST_FILE, "^src/bin/", "^src/adapters/memory/"],
        numberOfDependentsLessThan: 1,
      },
      from: { path: "^src/", pathNot: TEST_FILE },
    },
  ],
  options: {
    // swc reads TypeScript and keeps `import type`; TypeScript 7 has no compiler API to read it with.
    parser: "swc",
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^(dist|node_modules/[.]cache)/" },
    enhancedResolveOptions: {
      extensions: [".ts", ".mjs", ".js", ".json"],
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
      mainFields: ["module", "main", "types"],
    },
    skipAnalysisNotInRules: true,
  },
};
