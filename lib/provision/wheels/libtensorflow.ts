/**
 * @file TensorFlow's C library and headers out of the Python wheel, which package mirrors have where the
 * library's own host is out of reach. pip downloads it, the checksum is verified, the few members that are
 * needed are unpacked, and the wheel is deleted.
 */
import {mkdirSync, renameSync, rmSync, statfsSync, symlinkSync} from 'node:fs';
import {join} from 'node:path';
import {publishFolder, writeJson} from '../cache.js';
import {ProvisionError} from '../provision-error.js';
import {WHEEL_PYTHON, downloadWheel, unpackWheel, verifyChecksum, type PlatformWheel} from './wheel.js';

/** `tensorflow-cpu` has no wheel for 64-bit ARM; `tensorflow` there is built without CUDA. */
const WHEELS: Readonly<Record<string, PlatformWheel>> = {
  'linux-x64': {
    project: 'tensorflow-cpu',
    version: '2.21.0',
    platform: 'manylinux_2_27_x86_64',
    sha256: '2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c',
  },
  'linux-arm64': {
    project: 'tensorflow',
    version: '2.21.0',
    platform: 'manylinux_2_27_aarch64',
    sha256: '4b24aca16d527a3cf1c37f720c04c484c3d20f4d0fdfa98632ac8b9f3be6eb5c',
  },
};

/** 274 MB of wheel beside 1.0 GB unpacked. */
const NEEDED_BYTES = 1.5e9;
const UNPACK_TIMEOUT_MS = 10 * 60_000;

/**
 * Arguments: wheel, destination. `include/external` is left out: half of the headers' bytes (LLVM, gRPC, ICU),
 * and none that TensorFlow's own headers include.
 */
const UNPACK = `
import sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
libraries = ('tensorflow/libtensorflow_cc.so.2', 'tensorflow/libtensorflow_framework.so.2')
for name in wheel.namelist():
    header = name.startswith('tensorflow/include/') and not name.startswith('tensorflow/include/external/')
    if name in libraries or header:
        wheel.extract(name, sys.argv[2])
`;

/** Where libtensorflow of the given wheel is, or will be, in the cache. */
export function libtensorflowFolder(cache: string, wheel: PlatformWheel): string {
  return join(cache, `libtensorflow-${wheel.version}-${process.platform}-${process.arch}`);
}

/**
 * The wheel for this machine.
 *
 * @throws {ProvisionError} `no-wheel` if there is none.
 */
export function wheelForThisMachine(): PlatformWheel {
  const machine = `${process.platform}-${process.arch}`;
  const wheel = WHEELS[machine];
  if (wheel !== undefined) return wheel;
  throw new ProvisionError(
    'no-wheel',
    `there is no TensorFlow library to take for ${machine}; there is for ${Object.keys(WHEELS).join(', ')}`,
    'install @tensorflow/tfjs-node by its own means: npm rebuild @tensorflow/tfjs-node',
  );
}

export interface FetchLibtensorflowOptions {
  readonly wheel: PlatformWheel;
  readonly python: string;
  readonly log: (line: string) => void;
  /** Added to pip's, for an index of one's own. */
  readonly pipArgs?: readonly string[];
}

/**
 * Downloads, checks and unpacks libtensorflow into `folder`, as `lib/` and `include/`. Call it under the lock.
 *
 * @param folder Final place in the cache.
 * @throws {ProvisionError} If the download fails, the checksum differs, or the disk is full.
 */
export async function fetchLibtensorflow(
  folder: string,
  {wheel, python, log, pipArgs = []}: FetchLibtensorflowOptions,
): Promise<void> {
  await publishFolder(folder, async (partial) => {
    const {bavail, bsize} = statfsSync(partial);
    if (bavail * bsize < NEEDED_BYTES) {
      throw new ProvisionError(
        'disk-full',
        `${folder} has ${(bavail * bsize) / 1e9} GB free; unpacking TensorFlow needs ${NEEDED_BYTES / 1e9} GB`,
        'free some space, or set XDG_CACHE_HOME to a folder on a larger disk',
      );
    }
    const path = await downloadWheel(partial, {
      wheel,
      python,
      what: 'libtensorflow',
      size: '270 MB',
      log,
      pipArgs: ['--platform', wheel.platform, ...WHEEL_PYTHON, ...pipArgs],
    });
    await verifyChecksum(path, wheel.sha256, `${wheel.project} ${wheel.version}`);
    log('unpacking libtensorflow and its headers');
    await unpackLibtensorflow(path, partial, python);
    rmSync(join(partial, 'download'), {recursive: true});
    await writeJson(join(partial, 'source.json'), wheel);
  });
}

/**
 * Unpacks library and headers of a TensorFlow wheel in the layout that binding.gyp expects: `-ltensorflow` and
 * `-ltensorflow_framework` in `lib`.
 *
 * @param wheel Path.
 * @throws {ProvisionError} `unpack-failed` if it is no wheel, or the disk is full.
 */
export async function unpackLibtensorflow(wheel: string, folder: string, python: string): Promise<void> {
  await unpackWheel(python, UNPACK, [wheel, folder], {timeoutMs: UNPACK_TIMEOUT_MS});
  const lib = join(folder, 'lib');
  mkdirSync(lib);
  for (const name of ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2']) {
    renameSync(join(folder, 'tensorflow', name), join(lib, name));
  }
  symlinkSync('libtensorflow_cc.so.2', join(lib, 'libtensorflow.so'));
  symlinkSync('libtensorflow_framework.so.2', join(lib, 'libtensorflow_framework.so'));
  renameSync(join(folder, 'tensorflow', 'include'), join(folder, 'include'));
  rmSync(join(folder, 'tensorflow'), {recursive: true});
}
