/**
 * @file The README's picture: tokens a second and word perplexity of SmolLM2-135M, dense and sparse. It measures nothing:
 * the figures are read from the tables of scripts/bench/README.md, so that picture and tables cannot differ.
 *
 * Usage: npm run bench -- picture [--out FILE.svg]
 */
import {readFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import {writeTextFile} from '../../lib/io/files/atomic-file.js';
import {drawPicture} from './picture/draw-picture.js';
import {readFigures} from './picture/read-figures.js';

const HELP = `Usage: npm run bench -- picture [--out FILE.svg]

Draws the picture of the README from the tables of scripts/bench/README.md, by default into
scripts/bench/tokens-and-perplexity.svg.`;

const {values: options} = parseArgs({
  options: {
    help: {type: 'boolean', short: 'h', default: false},
    out: {
      type: 'string',
      default: fileURLToPath(new URL('tokens-and-perplexity.svg', import.meta.url)),
    },
  },
});

if (options.help) console.log(HELP);
else {
  const guide = readFileSync(new URL('README.md', import.meta.url), 'utf8');
  await writeTextFile(options.out, drawPicture(readFigures(guide)));
  console.log(`drawn: ${options.out}`);
}
