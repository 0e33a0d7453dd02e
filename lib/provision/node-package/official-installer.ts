/**
 * @file tfjs-node's own installer. It downloads libtensorflow 2.9.1 from a host that refuses many
 * (tensorflow/tfjs issue 8742) and may then wait without end, so it is asked first whether it answers and gets a
 * short time.
 */
import {createRequire} from 'node:module';
import {existsSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {delimiter, dirname, join} from 'node:path';
import {errorLine, runCommand} from '../processes/command.js';
import {ProvisionError} from '../provision-error.js';

const HOST =
  'https://storage.googleapis.com/tensorflow/libtensorflow/libtensorflow-cpu-linux-x86_64-2.9.1.tar.gz';
const ANSWER_TIMEOUT_MS = 5_000;
const INSTALL_TIMEOUT_MS = 20_000;

/**
 * Runs the package's own installer.
 *
 * @throws {ProvisionError} `host-refuses` if its host does not answer, `installer-failed` if it fails or takes over 20 s.
 */
export async function runOfficialInstaller(
  packageFolder: string,
  log: (line: string) => void,
): Promise<void> {
  if (!hasOwnSource()) await requireAnswer();
  log(`running tfjs-node's own installer (at most ${INSTALL_TIMEOUT_MS / 1000} s)`);
  const manifest = join(packageFolder, 'package.json');
  const original = readFileSync(manifest);
  const nodePreGyp = dirname(createRequire(manifest).resolve('@mapbox/node-pre-gyp/package.json'));
  const binFolders = [
    join(dirname(dirname(nodePreGyp)), '.bin'),
    join(packageFolder, 'node_modules', '.bin'),
  ];
  const result = await runCommand(process.execPath, ['scripts/install.js'], {
    cwd: packageFolder,
    env: {...process.env, PATH: [...binFolders, process.env.PATH ?? ''].join(delimiter)},
    timeoutMs: INSTALL_TIMEOUT_MS,
  });
  // The installer edits its own package.json while it runs, and leaves it so when it is stopped.
  if (!readFileSync(manifest).equals(original)) writeFileSync(manifest, original);
  if (result.code === 0) return;
  rmSync(join(packageFolder, 'deps'), {recursive: true, force: true});
  const why = result.timedOut ? `did not end within ${INSTALL_TIMEOUT_MS / 1000} s` : errorLine(result);
  throw new ProvisionError('installer-failed', `tfjs-node's own installer failed: ${why}`, 'see above');
}

/** The installer can be pointed at another host; then that one is tried without asking. */
function hasOwnSource(): boolean {
  return ['TFJS_NODE_CDN_STORAGE', 'TFJS_NODE_BASE_URI', 'CDN_STORAGE'].some((name) => process.env[name]);
}

async function requireAnswer(): Promise<void> {
  let answer: string;
  try {
    const response = await fetch(HOST, {method: 'HEAD', signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS)});
    if (response.ok) return;
    answer = `answers ${response.status}`;
  } catch (error) {
    const cause = error as Error & {cause?: {code?: string}};
    answer = `does not answer (${cause.cause?.code ?? cause.name})`;
  }
  throw new ProvisionError(
    'host-refuses',
    `${new URL(HOST).host} ${answer}`,
    'nothing: the next way is tried',
  );
}

/** Whether a package folder has the installer at all. */
export function hasOfficialInstaller(packageFolder: string): boolean {
  return existsSync(join(packageFolder, 'scripts', 'install.js'));
}
