/**
 * @file The report as one HTML file: no script, nothing from outside, and a policy that would stop both. Sections of which
 * nothing is known are left out.
 */
import {arrange} from './layers-by-kind.js';
import type {ReportContents} from './report-contents.js';
import {Html, html} from './html.js';
import {openPlotDrawer} from './plot-drawer.js';
import {allocationSection} from './sections/allocation-section.js';
import {figuresSection} from './sections/all-numbers-section.js';
import {head} from './sections/head-section.js';
import {formatsSection} from './sections/formats-section.js';
import {histogramSection} from './sections/histograms-section.js';
import {originSection} from './sections/origin-section.js';
import {qualitySection} from './sections/quality-section.js';
import {sparsitySection} from './sections/sparsity-section.js';
import {speedSection} from './sections/speed-section.js';
import {STYLE} from './report-style.js';

const POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/**
 * The page of a report.
 *
 * @returns A whole HTML document; 10 KB to 1 MB, by the number of layers.
 * @example
 * await writeFile('report.html', await renderReport(contents));
 */
export async function renderReport(contents: ReportContents): Promise<string> {
  const drawer = await openPlotDrawer();
  const {layers} = contents.measured;
  const arrangement = arrange(layers.map(({path}) => path));
  const sections = [
    qualitySection(contents.quality),
    speedSection(drawer, contents, arrangement),
    sparsitySection(drawer, contents, arrangement),
    formatsSection(drawer, contents),
    allocationSection(drawer, contents.allocation, arrangement),
    histogramSection(drawer, layers, arrangement),
    figuresSection(contents),
    originSection(contents),
  ];
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${POLICY}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${contents.name} · tfjs-sparsify report</title>
        <style>
          ${new Html(STYLE)}
        </style>
      </head>
      <body>
        ${head(contents)}
        <main>${sections}</main>
      </body>
    </html> `;
  return page.text;
}
