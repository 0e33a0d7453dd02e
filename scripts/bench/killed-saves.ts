/**
 * @file `npm run bench -- killed-saves`: kills a process that saves a model, 200 times at random moments, and checks
 * after each that the folder holds the old model or the new one, whole.
 *
 * Usage: npm run bench -- killed-saves [--kills 200] [--seed 1]
 */
import {mkdtempSync, readdirSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {parseArgs} from 'node:util';

import {killDuringSaves} from '../../spec/support/io/kills.js';

const HELP = `Usage: npm run bench -- killed-saves [--kills 200] [--seed 1]

Kills (SIGKILL) a process that saves a model over and over, at a moment during its first four saves, spread evenly. Prints how many different saves it hit and what was left. Ends with 1 if a model was not whole.`;

const {values: options} = parseArgs({
  options: {
    kills: {type: 'string', default: '200'},
    seed: {type: 'string', default: '1'},
    help: {type: 'boolean', short: 'h', default: false},
  },
});

if (options.help) console.log(HELP);
else {
  const folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-kills-'));
  try {
    const plan = {kills: Number(options.kills), seed: Number(options.seed)};
    const {failures, saves} = await killDuringSaves(join(folder, 'm'), plan, (done) => {
      if (done % 20 === 0) console.error(`${done} of ${options.kills} kills`);
    });
    for (const failure of failures) console.error(`kill ${failure}`);
    const files = readdirSync(join(folder, 'm')).length;
    console.log(
      `${options.kills} kills, the last model before them of ${saves} different saves: ` +
        `${failures.length} not whole; ${files} files in the folder at the end`,
    );
    process.exitCode = failures.length === 0 ? 0 : 1;
  } finally {
    rmSync(folder, {recursive: true, force: true});
  }
}
