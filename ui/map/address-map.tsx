// One subnet as a grid of cells on a canvas: it opens block by block down to single addresses, by mouse and by keyboard. What the cell
// under the pointer or focus holds is said beside the grid, for everybody, and to screen readers.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { SubnetAnswer } from "../../src/wire/api/subnet.ts";
import { api } from "../api-client.ts";
import { usePage, useReading } from "../parts/live-context.ts";
import { Problem } from "../parts/states.tsx";
import { useText } from "../text/text.ts";
import type { MapData } from "./cell-looks.ts";
import { countsOf, paint, readLooks, stateOf, withState } from "./cell-looks.ts";
import type { MapLevel } from "./map-layout.ts";
import {
  addressAt,
  cellAfterKey,
  cellAtPoint,
  cellOf,
  gridFor,
  lastAddressAt,
  overviewOf,
  pathTo,
  zoomInto,
} from "./map-layout.ts";

/** The map of one subnet. `selected` is the address that the page is at. */
export function AddressMap(props: {
  readonly subnet: SubnetAnswer;
  readonly selected: string | undefined;
  readonly theme: string;
  readonly onSelect: (ip: string) => void;
}) {
  const text = useText();
  const { subnet, selected } = props;
  const rangesText = subnet.ranges.join();
  const overview = useMemo(
    () => overviewOf(subnet.subnet, subnet.ranges),
    [subnet.subnet, rangesText],
  );
  const [path, setPath] = useState<readonly MapLevel[]>(overview === undefined ? [] : [overview]);
  useEffect(() => {
    if (overview === undefined) return;
    const to = selected === undefined ? [] : pathTo(overview, selected);
    if (to.length > 0) setPath(to);
    else setPath((old) => (old[0]?.first === overview.first ? old : [overview]));
  }, [overview, selected]);
  const level = path.at(-1);
  if (level === undefined) return null;
  const open = (cell: number) => {
    const next = zoomInto(level, cell);
    if (next === undefined) props.onSelect(addressAt(level, cell));
    else setPath([...path, next]);
  };
  return (
    <div class="address-map">
      <p class="map-path">
        {path.length > 1 ? (
          <button type="button" class="quiet" onClick={() => setPath(path.slice(0, -1))}>
            ←{" "}
            {text("map.back", {
              what: path.length === 2 ? text("map.whole") : addressAt(path.at(-2) ?? level, 0),
            })}
          </button>
        ) : null}
        <span class="faint">
          {level.blockSize === 1
            ? text("map.singles", { cells: level.cells })
            : text("map.blocks", { cells: level.cells, size: level.blockSize })}
        </span>
      </p>
      <MapGrid
        key={`${level.first}/${level.blockSize}`}
        label={text("map.grid", { subnet: subnet.subnet })}
        level={level}
        selected={selected}
        theme={props.theme}
        onOpen={open}
        onBack={path.length > 1 ? () => setPath(path.slice(0, -1)) : undefined}
      />
    </div>
  );
}

function MapGrid(props: {
  readonly label: string;
  readonly level: MapLevel;
  readonly selected: string | undefined;
  readonly theme: string;
  readonly onOpen: (cell: number) => void;
  readonly onBack: (() => void) | undefined;
}) {
  const page = usePage();
  const { level } = props;
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  const [isVisible, setVisible] = useState(false);
  const [focus, setFocus] = useState<number | undefined>(undefined);
  const [data, setData] = useState<MapData | undefined>(undefined);
  const key = `${level.first}/${level.blockSize}/${level.cells}`;
  // A block has only counts, so that a change of one address means reading them again.
  const reading = useReading(
    isVisible ? key : undefined,
    (signal) =>
      api.addressMap(
        { first: level.first, blockSize: level.blockSize, cells: level.cells },
        signal,
      ),
    { isLive: isVisible && level.blockSize > 1 },
  );
  useEffect(() => setData(reading.value), [reading.value]);
  useEffect(
    () =>
      page.subscribe((event) => {
        if (event.kind === "reset" || event.kind === "configuration") reading.again();
        if (event.kind !== "address" || level.blockSize > 1) return;
        const cell = cellOf(level, event.address.ip);
        const { state } = event.address;
        if (cell === undefined || state === undefined) return;
        setData((old) => (old === undefined ? old : withState(old, cell, state)));
      }),
    [page.subscribe, key],
  );
  useLayoutEffect(() => {
    const element = frame.current;
    if (element === null) return;
    const resized = new ResizeObserver(() => setWidth(element.clientWidth));
    const seen = new IntersectionObserver((entries) => {
      setVisible(entries.at(-1)?.isIntersecting ?? false);
    });
    resized.observe(element);
    seen.observe(element);
    setWidth(element.clientWidth);
    return () => {
      resized.disconnect();
      seen.disconnect();
    };
  }, []);
  const grid = gridFor(level.cells, Math.max(160, width));
  const selected = props.selected === undefined ? undefined : cellOf(level, props.selected);
  useEffect(() => {
    const element = canvas.current;
    const context = element?.getContext("2d");
    if (!isVisible || element === null || context === null || context === undefined) return;
    const request = requestAnimationFrame(() => {
      const scale = devicePixelRatio;
      element.width = grid.columns * grid.cellWidth * scale;
      element.height = grid.rows * grid.cellHeight * scale;
      context.setTransform(scale, 0, 0, scale, 0, 0);
      paint(
        context,
        { grid, cells: level.cells, blockSize: level.blockSize },
        data ?? {},
        readLooks(element),
        { focus, selected },
      );
    });
    return () => cancelAnimationFrame(request);
  }, [data, grid.columns, grid.cellWidth, focus, selected, props.theme, isVisible]);

  const cellUnder = (event: MouseEvent) => {
    const box = canvas.current?.getBoundingClientRect();
    if (box === undefined) return undefined;
    return cellAtPoint(grid, level.cells, event.clientX - box.left, event.clientY - box.top);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      props.onOpen(focus ?? selected ?? 0);
      return;
    }
    if (event.key === "Escape" && props.onBack !== undefined) {
      props.onBack();
      return;
    }
    const next = cellAfterKey(grid, level.cells, focus ?? selected ?? 0, event.key);
    if (next === undefined) return;
    event.preventDefault();
    setFocus(next);
  };
  return (
    <div ref={frame} class="map-frame">
      <canvas
        ref={canvas}
        tabIndex={0}
        role="application"
        aria-label={props.label}
        // A grid that is not loaded yet takes its place, so that nothing jumps.
        style={{
          width: `${grid.columns * grid.cellWidth}px`,
          height: `${grid.rows * grid.cellHeight}px`,
        }}
        onMouseMove={(event) => setFocus(cellUnder(event))}
        onMouseLeave={() => setFocus(undefined)}
        onClick={(event) => {
          const cell = cellUnder(event);
          if (cell !== undefined) props.onOpen(cell);
        }}
        onFocus={() => setFocus((old) => old ?? selected ?? 0)}
        onBlur={() => setFocus(undefined)}
        onKeyDown={onKeyDown}
      />
      <p class="map-says" aria-live="polite">
        {focus === undefined || data === undefined ? (
          " "
        ) : (
          <CellSays level={level} data={data} cell={focus} />
        )}
      </p>
      {reading.error === undefined ? null : <Problem error={reading.error} again={reading.again} />}
    </div>
  );
}

function CellSays(props: {
  readonly level: MapLevel;
  readonly data: MapData;
  readonly cell: number;
}) {
  const text = useText();
  const { level: at, data: of, cell } = props;
  const first = addressAt(at, cell);
  if (of.letters !== undefined) {
    return (
      <>
        {text("map.cell", { ip: first, state: text(`state.${stateOf(of.letters[cell])}`) })}
        <Holder ip={first} isWorthAsking={!["free", "none"].includes(stateOf(of.letters[cell]))} />
      </>
    );
  }
  const counts = countsOf(of, cell)
    .map(({ state, count }) => `${count.toLocaleString()} ${text(`state.${state}`)}`)
    .join(", ");
  return (
    <>
      {text("map.block", {
        first,
        last: lastAddressAt(at, cell),
        counts: counts === "" ? text("state.none") : counts,
      })}
    </>
  );
}

/** A pointer passes over many cells; only where it rests is it asked who has the address. */
const restMs = 60;

function Holder(props: { readonly ip: string; readonly isWorthAsking: boolean }) {
  const [said, setSaid] = useState<{ ip: string; who: string } | undefined>(undefined);
  useEffect(() => {
    if (!props.isWorthAsking) return;
    const gone = new AbortController();
    const timer = setTimeout(() => {
      api.address(props.ip, gone.signal).then(
        (address) => {
          const pod = [address.namespace, address.podName].filter(Boolean).join("/");
          const who = [pod, address.appName, address.poolName, address.nodeName].find(Boolean);
          setSaid({ ip: props.ip, who: who ?? address.key ?? "" });
        },
        () => {
          // The state stands there already; who has it can be asked again by resting here again.
        },
      );
    }, restMs);
    return () => {
      clearTimeout(timer);
      gone.abort();
    };
  }, [props.ip, props.isWorthAsking]);
  return said?.ip === props.ip ? <strong> · {said.who}</strong> : null;
}
