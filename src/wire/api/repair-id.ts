// The id of a proposed repair as text that a client sends back: it says what was proposed for which state.

import type { ProposedRepair } from "../../core/check-records.ts";
import { parseIp } from "../../core/ip.ts";
import { parsePodIdText, podIdText } from "../../core/owner.ts";

/** `reclaim,IP,NS/POD,VERSION,OUTCOME`, `adopt,IP,NS/POD` or `read,IP`. */
export function formatRepairId(repair: ProposedRepair): string {
  switch (repair.do) {
    case "reclaim":
      return `reclaim,${repair.ip},${podIdText(repair.pod)},${repair.version},${repair.outcome}`;
    case "adopt":
      return `adopt,${repair.ip},${podIdText(repair.pod)}`;
    case "read again":
      return `read,${repair.ip}`;
    default:
      return repair satisfies never;
  }
}

/** Reads an id; undefined when it is none. */
export function parseRepairId(text: string): ProposedRepair | undefined {
  const [word, ipText = "", podText, version, outcome, ...rest] = text.split(",");
  const ip = parseIp(ipText);
  if (ip === undefined || rest.length > 0) return undefined;
  if (word === "read" && podText === undefined) return { do: "read again", ip };
  if (podText === undefined || !/^[^/]+\/[^/]+$/.test(podText)) return undefined;
  const pod = parsePodIdText(podText);
  if (word === "adopt" && version === undefined) return { do: "adopt", pod, ip };
  const isOutcome = outcome === "release" || outcome === "reserve" || outcome === "adopt";
  if (word !== "reclaim" || version === undefined || !isOutcome) return undefined;
  return { do: "reclaim", pod, ip, version, outcome };
}
