// The alerts of deploy/components/monitoring in Prometheus' own tool: their syntax, and when the most important ones ring and when they do not.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { locateProgram } from "../control-plane/binaries.ts";
import { removeAtExit } from "../control-plane/child-program.ts";

const run = promisify(execFile);
const rules = fileURLToPath(
  new URL("../../deploy/components/monitoring/rules.yaml", import.meta.url),
);
const promtool = await locateProgram("promtool", "prometheus", "usr/bin/promtool");
const skip = promtool.kind === "found" ? false : promtool.because;
const file = promtool.kind === "found" ? promtool.file : "";

const subnet = '{subnet="10.0.70.0/24",first_ip="10.0.70.2"}';

/** Series by minute, in promtool's notation, and which alerts ring at a time. */
const cases: readonly {
  readonly about: string;
  readonly series: Readonly<Record<string, string>>;
  readonly at: string;
  readonly alert: string;
  readonly rings: boolean;
}[] = [
  {
    about: "nobody leads for two minutes",
    series: { 'galaxy_leader{instance="a"}': "1 1 0x10", 'galaxy_leader{instance="b"}': "0x12" },
    at: "6m",
    alert: "GalaxyIpamWithoutLeader",
    rings: true,
  },
  {
    about: "nobody is even scraped",
    series: { up: "0x10" },
    at: "5m",
    alert: "GalaxyIpamWithoutLeader",
    rings: true,
  },
  {
    about: "another replica takes over within a minute",
    series: {
      'galaxy_leader{instance="a"}': "1 1 0x10",
      'galaxy_leader{instance="b"}': "0 0 1x10",
    },
    at: "6m",
    alert: "GalaxyIpamWithoutLeader",
    rings: false,
  },
  {
    about: "one address in twenty is left",
    series: { [`galaxy_subnet_free_ratio${subnet}`]: "0.05x20" },
    at: "10m",
    alert: "GalaxySubnetNearlyFull",
    rings: true,
  },
  {
    about: "a fifth is left",
    series: { [`galaxy_subnet_free_ratio${subnet}`]: "0.2x20" },
    at: "10m",
    alert: "GalaxySubnetNearlyFull",
    rings: false,
  },
  {
    about: "a subnet loses a tenth in an hour and a half",
    series: { [`galaxy_subnet_free_ratio${subnet}`]: "0.9-0.001x480" },
    at: "8h",
    alert: "GalaxySubnetFullWithinADay",
    rings: true,
  },
  {
    about: "a subnet loses a hundredth in an hour and a half",
    series: { [`galaxy_subnet_free_ratio${subnet}`]: "0.9-0.0001x480" },
    at: "8h",
    alert: "GalaxySubnetFullWithinADay",
    rings: false,
  },
  {
    about: "a conflict is counted",
    series: { 'galaxy_conflicts_total{kind="address in two pods"}': "0x5 1x10" },
    at: "8m",
    alert: "GalaxyAddressConflict",
    rings: true,
  },
  {
    about: "the first conflict of a process is counted",
    series: { 'galaxy_conflicts_total{kind="address in two pods"}': "_x5 1x10" },
    at: "8m",
    alert: "GalaxyAddressConflict",
    rings: true,
  },
  {
    about: "many records are deleted at once, the first that this process saw",
    series: { 'galaxy_repairs_total{kind="record deleted"}': "_x5 40x30" },
    at: "8m",
    alert: "GalaxyRecordsLost",
    rings: true,
  },
  {
    about: "many records are deleted one after the other",
    series: { 'galaxy_repairs_total{kind="record deleted"}': "0x5 0+1x30" },
    at: "20m",
    alert: "GalaxyRecordsLost",
    rings: true,
  },
  {
    about: "an operator deletes a record to give its address back",
    series: { 'galaxy_repairs_total{kind="record deleted"}': "0x5 1x30" },
    at: "8m",
    alert: "GalaxyRecordsLost",
    rings: false,
  },
  {
    about: "many records were deleted an hour ago",
    series: { 'galaxy_repairs_total{kind="record deleted"}': "_x5 40x90" },
    at: "65m",
    alert: "GalaxyRecordsLost",
    rings: false,
  },
  {
    about: "a running pod has an address and no record, and nothing repairs it",
    series: {
      'galaxy_check_findings{kind="pod without record",severity="error",instance="a"}': "0x2 3x20",
    },
    at: "9m",
    alert: "GalaxyCheckFindsErrors",
    rings: true,
  },
  {
    about: "a record is made again by the next look",
    series: {
      'galaxy_check_findings{kind="pod without record",severity="error",instance="a"}':
        "_x2 3x2 _x20",
    },
    at: "12m",
    alert: "GalaxyCheckFindsErrors",
    rings: false,
  },
  {
    about: "a conflict was counted long ago",
    series: { 'galaxy_conflicts_total{kind="address in two pods"}': "0x5 1x60" },
    at: "50m",
    alert: "GalaxyAddressConflict",
    rings: false,
  },
  {
    about: "a namespace has all that its quota allows",
    series: {
      'galaxy_quota_used{quota="team-a",namespace="ns1",instance="a"}': "1 2x20",
      'galaxy_quota_limit{quota="team-a",namespace="ns1",instance="a"}': "2x21",
    },
    at: "12m",
    alert: "GalaxyQuotaReached",
    rings: true,
  },
  {
    about: "a quota was lowered below what the namespace has",
    series: {
      'galaxy_quota_used{quota="team-a",namespace="ns1"}': "3x20",
      'galaxy_quota_limit{quota="team-a",namespace="ns1"}': "1x20",
    },
    at: "11m",
    alert: "GalaxyQuotaReached",
    rings: true,
  },
  {
    about: "one address is left, and a namespace that may have none has none",
    series: {
      'galaxy_quota_used{quota="team-a",namespace="ns1"}': "1x20",
      'galaxy_quota_limit{quota="team-a",namespace="ns1"}': "2x20",
      'galaxy_quota_used{quota="none",namespace="ns2"}': "0x20",
      'galaxy_quota_limit{quota="none",namespace="ns2"}': "0x20",
    },
    at: "15m",
    alert: "GalaxyQuotaReached",
    rings: false,
  },
  {
    about: "the owner of an idle address was told that it goes",
    series: { [`galaxy_idle_due_addresses${subnet}`]: "0x5 2x10" },
    at: "7m",
    alert: "GalaxyIdleAddressesDue",
    rings: true,
  },
  {
    about: "idle addresses have time left",
    series: {
      [`galaxy_idle_due_addresses${subnet}`]: "2x5 0x10",
      'galaxy_idle_addresses{subnet="10.0.70.0/24",first_ip="10.0.70.2",age="30d"}': "9x15",
    },
    at: "8m",
    alert: "GalaxyIdleAddressesDue",
    rings: false,
  },
];

describe("alerts", { skip }, () => {
  test("Prometheus accepts the rules", async () => {
    const { stdout } = await run(file, ["check", "rules", rules]);
    assert.match(stdout, /SUCCESS: \d+ rules found/);
  });

  for (const { about, series, at, alert, rings } of cases) {
    test(`${alert} ${rings ? "rings" : "is silent"} when ${about}`, async () => {
      const folder = mkdtempSync(join(tmpdir(), "galaxy-alerts-"));
      removeAtExit(folder);
      const input = Object.entries(series).map(([name, values]) => ({ series: name, values }));
      const samples = rings ? 1 : 0;
      writeFileSync(
        join(folder, "test.json"),
        JSON.stringify({
          rule_files: [rules],
          evaluation_interval: "1m",
          tests: [
            {
              interval: "1m",
              input_series: input,
              promql_expr_test: [
                {
                  expr: `count(ALERTS{alertname="${alert}",alertstate="firing"})`,
                  eval_time: at,
                  exp_samples: samples === 0 ? [] : [{ labels: "{}", value: samples }],
                },
              ],
            },
          ],
        }),
      );
      await run(file, ["test", "rules", join(folder, "test.json")]);
    });
  }
});
