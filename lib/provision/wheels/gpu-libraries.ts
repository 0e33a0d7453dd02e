/**
 * @file libtensorflow with CUDA and NVIDIA's CUDA 12 libraries out of Python wheels, laid out as libtensorflow's run path
 * looks for them (`lib/` beside `nvidia/<library>/lib`), so that no LD_LIBRARY_PATH is needed. pip downloads; its own
 * settings (PIP_INDEX_URL, PIP_FIND_LINKS with PIP_NO_INDEX for folders of wheels without a network) hold.
 */
import {existsSync, mkdirSync, rmSync, statfsSync, symlinkSync} from 'node:fs';
import {join} from 'node:path';
import {publishFolder, writeJson} from '../cache.js';
import {ProvisionError} from '../provision-error.js';
import {unpackLibtensorflow} from './libtensorflow.js';
import {WHEEL_PYTHON, downloadWheel, unpackWheel, verifyChecksum, type PlatformWheel} from './wheel.js';

/** A wheel with its size. */
export interface SizedWheel extends PlatformWheel {
  readonly megabytes: number;
}

export const TENSORFLOW_GPU_WHEEL: SizedWheel = {
  project: 'tensorflow',
  version: '2.21.0',
  platform: 'manylinux_2_27_x86_64',
  sha256: '9056fbc9ba04235810b71ae6cbd958a196e8804fb53bbcffbf3e23b56155f124',
  megabytes: 570,
};

/**
 * Within what `tensorflow[and-cuda]` 2.21 asks for, less what libtensorflow opens only for profiling, several GPUs or
 * compiling.
 */
export const CUDA_WHEELS: readonly SizedWheel[] = [
  {
    project: 'nvidia-cuda-runtime-cu12',
    version: '12.9.79',
    platform: 'manylinux2014_x86_64',
    sha256: '25bba2dfb01d48a9b59ca474a1ac43c6ebf7011f1b0b8cc44f54eb6ac48a96c3',
    megabytes: 4,
  },
  {
    project: 'nvidia-cublas-cu12',
    version: '12.9.1.4',
    platform: 'manylinux_2_27_x86_64',
    sha256: '453611eb21a7c1f2c2156ed9f3a45b691deda0440ec550860290dc901af5b4c2',
    megabytes: 580,
  },
  {
    project: 'nvidia-cufft-cu12',
    version: '11.4.1.4',
    platform: 'manylinux2014_x86_64',
    sha256: 'c67884f2a7d276b4b80eb56a79322a95df592ae5e765cf1243693365ccab4e28',
    megabytes: 200,
  },
  {
    project: 'nvidia-cusolver-cu12',
    version: '11.7.5.82',
    platform: 'manylinux_2_27_x86_64',
    sha256: '15da72d1340d29b5b3cf3fd100e3cd53421dde36002eda6ed93811af63c40d88',
    megabytes: 340,
  },
  {
    project: 'nvidia-cusparse-cu12',
    version: '12.5.10.65',
    platform: 'manylinux2014_x86_64',
    sha256: '73060ce019ac064a057267c585bf1fd5a353734151f87472ff02b2c5c9984e78',
    megabytes: 370,
  },
  {
    project: 'nvidia-nvjitlink-cu12',
    version: '12.9.86',
    platform: 'manylinux2010_x86_64',
    sha256: 'e3f1171dbdc83c5932a45f0f4c99180a70de9bd2718c1ab77d14104f6d7147f9',
    megabytes: 40,
  },
  {
    project: 'nvidia-cudnn-cu12',
    version: '9.10.2.21',
    platform: 'manylinux_2_27_x86_64',
    sha256: '949452be657fa16687d0930933f032835951ef0892b37d2d53824d1a84dc97a8',
    megabytes: 710,
  },
];

/** Disk while it runs, by the wheels' bytes: libtensorflow unpacks to 2.3 times its wheel, CUDA to 1.4 times. */
const [TENSORFLOW_ROOM, CUDA_ROOM] = [4, 1.7];
const UNPACK_TIMEOUT_MS = 10 * 60_000;

/** Arguments: wheel, destination. Takes the shared libraries, which lie in `nvidia/<library>/lib`. */
const UNPACK_LIBRARIES = `
import sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
names = [name for name in wheel.namelist() if name.startswith('nvidia/') and '/lib/' in name and '.so' in name]
if not names:
    sys.exit('the wheel holds no libraries in nvidia/*/lib')
for name in names:
    wheel.extract(name, sys.argv[2])
`;

/** Where libtensorflow with CUDA is, or will be, in the cache: with CUDA libraries of its own or those of the system. */
export function gpuLibtensorflowFolder(cache: string, systemCuda: boolean): string {
  const kind = systemCuda ? 'gpu-system-cuda' : 'gpu';
  return join(
    cache,
    `libtensorflow-${kind}-${TENSORFLOW_GPU_WHEEL.version}-${process.platform}-${process.arch}`,
  );
}

export interface FetchGpuLibrariesOptions {
  readonly python: string;
  readonly log: (line: string) => void;
  readonly tensorflow?: SizedWheel;
  /** Empty where the system has the libraries. */
  readonly cuda?: readonly SizedWheel[];
  /** Added to pip's. */
  readonly pipArgs?: readonly string[];
}

/**
 * Downloads, checks and unpacks libtensorflow and, unless the system has them, the CUDA libraries. Call it under the lock.
 *
 * @param folder Final place in the cache.
 * @throws {ProvisionError} If a download fails, a checksum differs, or the disk is full.
 */
export async function fetchGpuLibraries(
  folder: string,
  {
    python,
    log,
    tensorflow = TENSORFLOW_GPU_WHEEL,
    cuda = CUDA_WHEELS,
    pipArgs = [],
  }: FetchGpuLibrariesOptions,
): Promise<void> {
  await publishFolder(folder, async (partial) => {
    const cudaMegabytes = cuda.reduce((sum, {megabytes}) => sum + megabytes, 0);
    const needed = 1e6 * (TENSORFLOW_ROOM * tensorflow.megabytes + CUDA_ROOM * cudaMegabytes);
    const {bavail, bsize} = statfsSync(partial);
    if (bavail * bsize < needed) {
      throw new ProvisionError(
        'disk-full',
        `${folder} has ${(bavail * bsize) / 1e9} GB free; TensorFlow for GPUs needs ${needed / 1e9} GB`,
        'free some space, or set XDG_CACHE_HOME to a folder on a larger disk',
      );
    }
    const wheels = [tensorflow, ...cuda];
    for (const [i, wheel] of wheels.entries()) {
      const path = await downloadWheel(partial, {
        wheel,
        python,
        what: `part ${i + 1} of ${wheels.length}`,
        size: `${wheel.megabytes} MB`,
        log,
        pipArgs: ['--platform', wheel.platform, ...WHEEL_PYTHON, ...pipArgs],
      });
      await verifyChecksum(path, wheel.sha256, `${wheel.project} ${wheel.version}`);
      if (wheel === tensorflow) await unpackLibtensorflow(path, partial, python);
      else await unpackWheel(python, UNPACK_LIBRARIES, [path, partial], {timeoutMs: UNPACK_TIMEOUT_MS});
      rmSync(join(partial, 'download'), {recursive: true}); // one wheel at a time on the disk
    }
    linkCusolver(join(partial, 'nvidia'));
    await writeJson(join(partial, 'source.json'), wheels);
  });
}

/**
 * libtensorflow opens cusolver from its part whose run path does not name cusolver's folder (2.21), so it is linked into
 * one that it names, from which cusolver finds its own needs as well.
 */
function linkCusolver(nvidia: string): void {
  const file = 'libcusolver.so.11';
  if (!existsSync(join(nvidia, 'cusolver', 'lib', file))) return; // the system's is used
  mkdirSync(join(nvidia, 'cublas', 'lib'), {recursive: true});
  symlinkSync(join('..', '..', 'cusolver', 'lib', file), join(nvidia, 'cublas', 'lib', file));
}
