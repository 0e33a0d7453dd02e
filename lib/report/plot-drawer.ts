/**
 * @file Draws plots as SVG with Observable Plot on a document of its own; both are loaded when the first plot is drawn.
 * Colours are the page's CSS variables and `currentColor`, so that one drawing fits dark and light; tooltips are SVG
 * titles, which need no script.
 */
import type * as PlotModule from '@observablehq/plot';
import {Html, escapeHtml} from './html.js';

/** Observable Plot, as its marks are written: `drawer.plot.dot(…)`. */
export interface PlotDrawer {
  readonly plot: typeof PlotModule;
  /** @param label What it shows, for those who cannot see it. */
  draw(label: string, options: PlotModule.PlotOptions): Html;
}

/** Natural width of a plot in CSS pixels: what a phone shows; wider columns scale it. */
export const PLOT_WIDTH = 360;

/** Loads what plots take. */
export async function openPlotDrawer(): Promise<PlotDrawer> {
  const [plot, {parseHTML}] = await Promise.all([import('@observablehq/plot'), import('linkedom')]);
  const {document} = parseHTML('<!doctype html><html><body></body></html>');
  return {
    plot,
    draw: (label, options) => {
      const drawn = plot.plot({width: PLOT_WIDTH, ...options, document, figure: false});
      // Plot repeats a style element in every drawing; the page's style does for all.
      for (const element of drawn.querySelectorAll('style')) element.remove();
      drawn.setAttribute('class', 'plot');
      drawn.setAttribute('role', 'img');
      // Here and not as an attribute: what writes attributes leaves "<" in them as it is.
      return new Html(drawn.outerHTML.replace('<svg ', () => `<svg aria-label="${escapeHtml(label)}" `));
    },
  };
}
