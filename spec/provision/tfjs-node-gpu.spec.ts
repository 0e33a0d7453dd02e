/** @file Setting up tfjs-node-gpu, as far as it can be tried without a GPU. */
import {expect} from 'chai';
import {zipSync} from 'fflate';
import {createHash} from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {architectures} from '../../lib/provision/addons/gpu-addon.js';
import {findLibraries, packagedFolders} from '../../lib/provision/nvidia/cuda-libraries.js';
import {explainNoGpu} from '../../lib/provision/nvidia/explain-no-gpu.js';
import {findNvidia, objection, parseDevices} from '../../lib/provision/nvidia/nvidia.js';
import {findProgram} from '../../lib/provision/processes/programs.js';
import {provisionGpu} from '../../lib/provision/tfjs-node-gpu.js';
import {fetchGpuLibraries} from '../../lib/provision/wheels/gpu-libraries.js';

const H100 = {name: 'NVIDIA H100 80GB HBM3', computeCapability: '9.0', memoryMiB: 81559};

describe('setting up tfjs-node-gpu', () => {
  let folder: string;
  const environment = {...process.env};
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'provision-gpu-spec-'));
  });
  afterEach(() => {
    rmSync(folder, {recursive: true});
    for (const name of ['LD_LIBRARY_PATH', 'CUDA_VISIBLE_DEVICES', 'TFJS_SPARSIFY_PROVISION', 'PATH']) {
      if (environment[name] === undefined) delete process.env[name];
      else process.env[name] = environment[name];
    }
  });

  describe('what nvidia-smi says', () => {
    it('is read a line a GPU', () => {
      const text = '580.159.04, NVIDIA H100 80GB HBM3, 9.0, 81559\n580.159.04, NVIDIA A10, 8.6, 23028\n';
      expect(parseDevices(text)).to.deep.equal([
        {driver: '580.159.04', ...H100},
        {driver: '580.159.04', name: 'NVIDIA A10', computeCapability: '8.6', memoryMiB: 23028},
      ]);
    });

    it('is no GPU where it is a complaint', () => {
      expect(parseDevices('NVIDIA-SMI has failed, because, it could not, talk\n')).to.deep.equal([]);
    });
  });

  describe('what speaks against a GPU', () => {
    it('is nothing for a new driver and chip', () => {
      expect(objection('580.159.04', [H100], true)).to.deep.equal({reason: '', help: ''});
    });
    it('is that there is none', () => {
      expect(objection(null, [], false).reason).to.contain('no NVIDIA GPU');
    });
    it('is an old driver, with the version that is needed', () => {
      const {reason, help} = objection('470.82.01', [H100], true);
      expect(reason).to.contain('470.82.01').and.contain('525');
      expect(help).to.contain('update the NVIDIA driver');
    });
    it('is an old chip, by name', () => {
      const old = {name: 'Tesla K80', computeCapability: '3.7', memoryMiB: 11441};
      expect(objection('535.1', [old], true).reason)
        .to.contain('Tesla K80')
        .and.contain('3.7');
      expect(objection('535.1', [old, H100], true).reason).to.equal('');
    });
  });

  describe('libraries', () => {
    it('are looked for in LD_LIBRARY_PATH, then in the folders of the package', async () => {
      const [wanted, packaged] = [join(folder, 'wanted'), join(folder, 'packaged')];
      for (const [place, name] of [
        [wanted, 'libspec-a.so.1'],
        [packaged, 'libspec-a.so.1'],
        [packaged, 'libspec-b.so.1'],
      ]) {
        mkdirSync(place, {recursive: true});
        writeFileSync(join(place, name), '');
      }
      process.env.LD_LIBRARY_PATH = wanted;
      expect(
        await findLibraries(['libspec-a.so.1', 'libspec-b.so.1', 'libspec-c.so.1'], [packaged]),
      ).to.deep.equal([
        {name: 'libspec-a.so.1', path: join(wanted, 'libspec-a.so.1')},
        {name: 'libspec-b.so.1', path: join(packaged, 'libspec-b.so.1')},
        {name: 'libspec-c.so.1', path: null},
      ]);
    });

    it('of the system are found by the linker’s own list', async function () {
      if (process.platform !== 'linux') this.skip();
      const [{path}] = await findLibraries(['libc.so.6']);
      expect(existsSync(String(path))).to.equal(true);
    });

    before(function () {
      if (findProgram(['python3', 'python']) === undefined) this.skip();
    });

    /** Makes a wheel with these files, and what fetching it needs. */
    const makeWheel = (project: string, files: Record<string, string>) => {
      const name = `${project.replaceAll('-', '_')}-1.0`;
      const info = `${name}.dist-info`;
      const bytes = zipSync(
        Object.fromEntries(
          Object.entries({
            ...files,
            [`${info}/METADATA`]: `Metadata-Version: 2.1\nName: ${project}\nVersion: 1.0\n`,
            [`${info}/WHEEL`]:
              'Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-manylinux2014_x86_64\n',
            [`${info}/RECORD`]: '',
          }).map(([path, text]) => [path, new TextEncoder().encode(text)]),
        ),
      );
      writeFileSync(join(folder, `${name}-py3-none-manylinux2014_x86_64.whl`), bytes);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      return {project, version: '1.0', platform: 'manylinux2014_x86_64', sha256, megabytes: 0};
    };

    it('out of wheels lie where libtensorflow looks for them', async () => {
      const tensorflow = makeWheel('spec-tensorflow', {
        'tensorflow/libtensorflow_cc.so.2': 'the library',
        'tensorflow/libtensorflow_framework.so.2': 'its framework',
        'tensorflow/include/tensorflow/c/c_api.h': 'a header',
      });
      const cuda = [
        makeWheel('spec-cublas', {
          'nvidia/cublas/lib/libcublas.so.12': 'cublas',
          'nvidia/cublas/include/cublas.h': 'not needed',
        }),
        makeWheel('spec-cusolver', {'nvidia/cusolver/lib/libcusolver.so.11': 'cusolver'}),
      ];
      const deps = join(folder, 'cache', 'libtensorflow-gpu');
      await fetchGpuLibraries(deps, {
        python: findProgram(['python3', 'python']) ?? '',
        log: () => {},
        tensorflow,
        cuda,
        pipArgs: ['--no-index', '--find-links', folder],
      });
      expect(readFileSync(join(deps, 'lib', 'libtensorflow.so'), 'utf8')).to.equal('the library');
      expect(existsSync(join(deps, 'nvidia', 'cublas', 'include'))).to.equal(false);
      expect(existsSync(join(deps, 'download'))).to.equal(false);
      expect(readlinkSync(join(deps, 'nvidia/cublas/lib/libcusolver.so.11'))).to.equal(
        '../../cusolver/lib/libcusolver.so.11',
      );
      symlinkSync(deps, join(folder, 'deps'));
      const found = await findLibraries(['libcublas.so.12', 'libcusolver.so.11'], packagedFolders(folder));
      expect(found.map(({path}) => readFileSync(String(path), 'utf8'))).to.deep.equal(['cublas', 'cusolver']);
    });
  });

  it('builds machine code for the capabilities, and PTX of the last for newer chips', () => {
    expect(architectures(['8.0', '9.0'])).to.deep.equal([
      ...['-gencode', 'arch=compute_80,code=[sm_80]'],
      ...['-gencode', 'arch=compute_90,code=[sm_90,compute_90]'],
    ]);
  });

  describe('on a machine without a GPU', () => {
    before(async function () {
      if ((await findNvidia()).present) this.skip();
    });

    it('installs nothing and says what is missing', async () => {
      const packageFolder = join(folder, 'tfjs-node-gpu');
      mkdirSync(packageFolder);
      writeFileSync(
        join(packageFolder, 'package.json'),
        JSON.stringify({name: 'tfjs-node-gpu', version: '4.22.0'}),
      );
      const cache = join(folder, 'cache');
      const {state, reason, help} = await provisionGpu({packageFolder, cache});
      expect(state).to.equal('unavailable');
      expect(reason).to.contain('no NVIDIA GPU');
      expect(help).to.contain('nvidia-smi');
      expect(existsSync(cache)).to.equal(false);
      expect(await explainNoGpu(packageFolder)).to.include({reason, help});
    });
  });
});
