// How full something is, in a bar with the figures beside it.

import type { SubnetAnswer } from "../../src/wire/api/subnet.ts";
import { useText } from "../text/text.ts";

const parts = ["bound", "reserved", "admin", "held"] as const;

/** From this share on a subnet is said to be nearly full. */
const nearlyFull = 0.9;

/** `full`, `nearly` or undefined. A subnet without addresses is full. */
export function fullness({ total, free }: Pick<SubnetAnswer, "total" | "free">) {
  if (free === 0) return "full" as const;
  return total - free >= total * nearlyFull ? ("nearly" as const) : undefined;
}

/** The use of one subnet. */
export function UsageBar(props: { readonly subnet: SubnetAnswer }) {
  const text = useText();
  const { subnet } = props;
  const used = subnet.total - subnet.free;
  return (
    <span class="usage">
      <svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
        <rect class="bar-free" x="0" y="0" width="100" height="4" />
        {
          parts.reduce<{ x: number; rects: preact.JSX.Element[] }>(
            ({ x, rects }, part) => {
              const width = subnet.total === 0 ? 0 : (subnet[part] / subnet.total) * 100;
              const rect = (
                <rect key={part} class={`bar-${part}`} x={x} y="0" width={width} height="4" />
              );
              return { x: x + width, rects: [...rects, rect] };
            },
            { x: 0, rects: [] },
          ).rects
        }
      </svg>
      <span class="figures">
        {text("subnet.use", { used, total: subnet.total })} ·{" "}
        {text("subnet.free", { free: subnet.free })}
      </span>
    </span>
  );
}
