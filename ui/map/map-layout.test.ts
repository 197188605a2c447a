// Tests of which cells the address map shows.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ipFromNumber } from "../../src/core/ip.ts";
import {
  addressAt,
  cellAfterKey,
  cellAtPoint,
  cellOf,
  gridFor,
  lastAddressAt,
  mostOverviewCells,
  overviewOf,
  pathTo,
  zoomInto,
} from "./map-layout.ts";

test("small subnets show single addresses, large ones blocks that open down to them", () => {
  assert.deepEqual(overviewOf("10.0.70.0/24", []), {
    first: "10.0.70.0",
    blockSize: 1,
    cells: 256,
  });
  const large = overviewOf("10.0.0.0/8", []);
  assert.deepEqual(large, { first: "10.0.0.0", blockSize: 65_536, cells: 256 });
  assert.ok(large !== undefined);
  const middle = zoomInto(large, 173);
  assert.deepEqual(middle, { first: "10.173.0.0", blockSize: 256, cells: 256 });
  assert.ok(middle !== undefined);
  assert.deepEqual(zoomInto(middle, 4), { first: "10.173.4.0", blockSize: 1, cells: 256 });
  assert.deepEqual(
    pathTo(large, "10.173.4.9").map(({ first }) => first),
    ["10.0.0.0", "10.173.0.0", "10.173.4.0"],
  );
  assert.deepEqual(pathTo(large, "11.0.0.1"), []);
});

test("an IPv6 subnet is shown from its first to its last range", () => {
  assert.deepEqual(overviewOf("fd00::/64", ["fd00::10~fd00::ff"]), {
    first: "fd00::",
    blockSize: 1,
    cells: 256,
  });
  assert.equal(overviewOf("fd00::/64", []), undefined);
});

test("every address of a subnet lies in a cell whose bounds have it, at each level", () => {
  fc.assert(
    fc.property(fc.integer({ min: 8, max: 30 }), fc.nat(), fc.nat(), (prefix, base, offset) => {
      const size = 2 ** (32 - prefix);
      const first = Math.floor((base % 2 ** 31) / size) * size;
      const ip = ipFromNumber(first + (offset % size));
      const overview = overviewOf(`${ipFromNumber(first)}/${prefix}`, []);
      assert.ok(overview !== undefined);
      assert.ok(overview.cells <= mostOverviewCells);
      const path = pathTo(overview, ip);
      assert.equal(path.at(-1)?.blockSize, 1);
      for (const level of path) {
        const cell = cellOf(level, ip);
        assert.ok(cell !== undefined);
        assert.equal(cellOf(level, addressAt(level, cell)), cell);
        assert.equal(cellOf(level, lastAddressAt(level, cell)), cell);
      }
      const last = path.at(-1);
      assert.ok(last !== undefined);
      assert.equal(addressAt(last, cellOf(last, ip) ?? -1), ip);
    }),
  );
});

test("a point of the grid names the cell that is painted there", () => {
  const grid = gridFor(256, 900);
  assert.equal(grid.columns, 32);
  assert.equal(cellAtPoint(grid, 256, 1, 1), 0);
  assert.equal(cellAtPoint(grid, 256, grid.cellWidth + 1, grid.cellHeight + 1), 33);
  assert.equal(cellAtPoint(grid, 256, 899, 1), grid.cellWidth * 32 > 899 ? 31 : undefined);
  assert.equal(cellAtPoint(grid, 10, 1, grid.cellHeight + 1), undefined);
});

test("arrow keys move by cells and rows and stay inside", () => {
  const grid = gridFor(256, 900);
  assert.equal(cellAfterKey(grid, 256, 0, "ArrowRight"), 1);
  assert.equal(cellAfterKey(grid, 256, 0, "ArrowLeft"), 0);
  assert.equal(cellAfterKey(grid, 256, 5, "ArrowDown"), 37);
  assert.equal(cellAfterKey(grid, 256, 250, "ArrowDown"), 250);
  assert.equal(cellAfterKey(grid, 256, 7, "End"), 255);
  assert.equal(cellAfterKey(grid, 256, 7, "x"), undefined);
});
