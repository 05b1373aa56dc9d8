import {
  BigValueColorMode,
  BigValueGraphMode,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  SortOrder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VisibilityMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common';
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as TableBuilder } from '@grafana/grafana-foundation-sdk/table';
import { PanelBuilder as GraphBuilder } from '@grafana/grafana-foundation-sdk/timeseries';

export const DATASOURCE = { type: 'prometheus', uid: '$datasource' };

/** What all panels have. */
interface PanelOptions {
  readonly title: string;
  /** For whoever asks what the picture means. */
  readonly description: string;
  /** As Grafana names it: `s`, `bytes`, `binBps`, `percentunit`, … */
  readonly unit: string;
  /** Of the grid's 24. */
  readonly width: number;
  readonly max?: number;
}

/** What grows from step to step needs steps of some scrapes. */
const MIN_STEP = '5m';

export interface StatOptions extends PanelOptions {
  readonly expr: string;
  /** One value for all of the time shown, not the last of many. */
  readonly instant?: boolean;
}

/** One number, with its course behind it unless it is `instant`. */
export function stat({ title, description, unit, width, max, expr, instant = false }: StatOptions): StatBuilder {
  const query = new DataqueryBuilder().refId('A').expr(expr);
  const panel = new StatBuilder()
    .title(title)
    .description(description)
    .datasource(DATASOURCE)
    .unit(unit)
    .span(width)
    .height(4)
    .colorMode(BigValueColorMode.None)
    .graphMode(instant ? BigValueGraphMode.None : BigValueGraphMode.Area)
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']))
    .withTarget(instant ? query.instant() : query.range());
  return max === undefined ? panel : panel.max(max);
}

export interface GraphOptions extends PanelOptions {
  /** Legend (`{{label}}`) → expression. */
  readonly series: Readonly<Record<string, string>>;
  readonly stacked?: boolean;
  /** The legend as a table with these: `lastNotNull`, `mean`, `max`. */
  readonly calcs?: readonly string[];
}

/** Lines over time. */
export function graph({ title, description, unit, width, max, series, stacked, calcs }: GraphOptions): GraphBuilder {
  const legend = new VizLegendOptionsBuilder().placement(LegendPlacement.Bottom).showLegend(true);
  const panel = new GraphBuilder()
    .title(title)
    .description(description)
    .datasource(DATASOURCE)
    .unit(unit)
    .span(width)
    .height(8)
    .min(0)
    .showPoints(VisibilityMode.Never)
    .fillOpacity(stacked === true ? 40 : 5)
    .stacking(new StackingConfigBuilder().mode(stacked === true ? StackingMode.Normal : StackingMode.None))
    .legend(
      calcs === undefined
        ? legend.displayMode(LegendDisplayMode.List)
        : legend.displayMode(LegendDisplayMode.Table).calcs([...calcs]),
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending));
  for (const [index, [legendFormat, expr]] of Object.entries(series).entries()) {
    const query = new DataqueryBuilder().refId(refId(index)).expr(expr).legendFormat(legendFormat).range();
    panel.withTarget(expr.includes('$__interval') ? query.interval(MIN_STEP) : query);
  }
  return max === undefined ? panel : panel.max(max);
}

export interface Column {
  readonly title: string;
  readonly unit: string;
  readonly expr: string;
}

export interface TableOptions extends Omit<PanelOptions, 'unit'> {
  /** Its labels are the first columns, by label and title; all other expressions share those that name a row. */
  readonly labels: { readonly expr: string; readonly titles: Readonly<Record<string, string>> };
  readonly columns: readonly Column[];
}

/** One row for each value of the labels that all queries share. */
export function table({ title, description, width, labels, columns }: TableOptions): TableBuilder {
  const names = Object.keys(labels.titles);
  // Grafana calls the value of query B `Value #B`.
  const values = columns.map((column, index) => ({ ...column, refId: refId(index + 1) }));
  const panel = new TableBuilder()
    .title(title)
    .description(description)
    .datasource(DATASOURCE)
    .span(width)
    .height(10)
    .filterable(true)
    .withTransformation({ id: 'merge', options: {} })
    .withTransformation({
      id: 'organize',
      options: {
        excludeByName: { Time: true, 'Value #A': true },
        indexByName: Object.fromEntries(
          [...names, ...values.map((value) => `Value #${value.refId}`)].map((name, at) => [name, at]),
        ),
        renameByName: {
          ...labels.titles,
          ...Object.fromEntries(values.map((value) => [`Value #${value.refId}`, value.title])),
        },
      },
    });
  for (const { refId: id, expr } of [{ refId: refId(0), expr: labels.expr }, ...values]) {
    panel.withTarget(new DataqueryBuilder().refId(id).expr(expr).format(PromQueryFormat.Table).instant());
  }
  for (const { title: name, unit } of columns) panel.overrideByName(name, [{ id: 'unit', value: unit }]);
  return panel;
}

function refId(index: number): string {
  return String.fromCharCode('A'.charCodeAt(0) + index);
}
