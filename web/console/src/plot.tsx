import type { SeriesName, SeriesPoint } from "./series.ts";
import { text } from "./texts.ts";

/** Size of a drawing in its own units; it is stretched to its place. */
const WIDTH = 300;
const HEIGHT = 72;
/** Time that a plot shows at least and at most, in milliseconds: it fills itself and then moves on. */
const SHOWN_MS = { min: 60_000, max: 300_000 };

/** A line of a plot. */
export interface PlotLine {
  series: SeriesName;
  label: string;
}

/** A plot of the last five minutes, with its current values as a legend. */
export function Plot(props: {
  title: string;
  lines: PlotLine[];
  points: SeriesPoint[];
  show: (value: number | undefined) => string;
}) {
  const { title, lines, points, show } = props;
  const last = points.at(-1);
  const end = last?.at ?? 0;
  const age = end - (points[0]?.at ?? end);
  const shown = Math.min(SHOWN_MS.max, Math.max(SHOWN_MS.min, age));
  const values = lines.flatMap(({ series }) => points.map((point) => point[series] ?? 0));
  const top = niceTop(Math.max(0, ...values));
  const told = lines.map(({ series, label }) => `${label}: ${spoken(last?.[series], show)}`).join(", ");
  return (
    <figure class="plot">
      <figcaption>
        <h2>{title}</h2>
        <span class="quiet small">{top > 0 ? show(top) : ""}</span>
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${title}. ${told}`}>
        <line class="grid" x1="0" x2={WIDTH} y1="0.5" y2="0.5" />
        <line class="grid" x1="0" x2={WIDTH} y1={HEIGHT / 2} y2={HEIGHT / 2} />
        <line class="grid" x1="0" x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} />
        {lines.map(({ series }, at) => (
          <path class={`curve curve-${at}`} d={curve(points, series, top, end, shown)} />
        ))}
      </svg>
      <ul class="legend" aria-hidden="true">
        {lines.map(({ series, label }, at) => (
          <li>
            <span class={`key key-${at}`} />
            <span class="quiet">{label}</span>
            <b>{show(last?.[series])}</b>
          </li>
        ))}
      </ul>
    </figure>
  );
}

const spoken = (value: number | undefined, show: (value: number | undefined) => string) =>
  value === undefined ? text("noValue") : show(value);

/** Returns the next of 1, 2, 5, 10, 20 … that is not below a value. */
export function niceTop(value: number): number {
  if (value <= 0) return 0;
  const step = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((it) => it * step >= value) ?? 10) * step;
}

/** Returns the path of a line; where there is no value it is interrupted. */
function curve(points: SeriesPoint[], series: SeriesName, top: number, end: number, shown: number): string {
  const parts: string[] = [];
  let isDrawing = false;
  for (const point of points) {
    const value = point[series];
    if (value === undefined) {
      isDrawing = false;
      continue;
    }
    if (end - point.at > shown) continue;
    const x = WIDTH - ((end - point.at) / shown) * WIDTH;
    const y = HEIGHT - 1 - (top > 0 ? (value / top) * (HEIGHT - 2) : 0);
    parts.push(`${isDrawing ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`);
    isDrawing = true;
  }
  return parts.join("");
}
