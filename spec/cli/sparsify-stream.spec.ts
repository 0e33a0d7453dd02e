import {mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {expect} from 'chai';
import {finished, startModule, urlOf} from '../support/child.js';
import {cli} from '../support/cli.js';

describe('sparsify --stream', function () {
  this.timeout(300_000); // processes on the cpu backend
  let folder = '';
  const at = (name: string) => join(folder, name);
  const sparsify = (model: string, out: string, ...more: string[]) =>
    cli([
      ...['sparsify', model, '--data', at('ids.jsonl'), '--batch-size', '2', '--compress', 'int8_asym'],
      ...['--target', '@all=0.5', '--out', out, ...more],
    ]);

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-stream-'));
    const sequences = [3, 5, 11].map((step) => Array.from({length: 12}, (_, i) => (i * i * step) % 512));
    writeFileSync(at('ids.jsonl'), sequences.map((ids) => `${JSON.stringify(ids)}\n`).join(''));
  });
  after(() => rmSync(folder, {recursive: true, force: true}));

  it('writes what it writes without, from a checkpoint that scripts/make-checkpoint.ts made', async () => {
    const script = JSON.stringify(urlOf('scripts/make-checkpoint.ts'));
    const args = ['--shape', 'small', '--out', at('small'), '--layers', '2', '--shard-gigabytes', '0.0005'];
    const source = `process.argv.splice(1, Infinity, ...${JSON.stringify(args)}); await import(${script});`;
    const made = await finished(startModule(source));
    expect(made.code, made.stderr).to.equal(0);
    expect(readdirSync(at('small')).filter((name) => name.endsWith('.safetensors'))).to.have.length.above(1);

    const [streamed, whole] = [
      await sparsify(at('small'), at('streamed'), '--stream', '--json'),
      await sparsify(at('small'), at('whole'), '--json'),
    ];
    expect(streamed.code, streamed.stderr).to.equal(0);
    expect(JSON.parse(streamed.stdout)).to.deep.equal({
      ...(JSON.parse(whole.stdout) as object),
      out: at('streamed'),
    });
    expect(readdirSync(at('streamed'))).to.deep.equal(readdirSync(at('whole'))); // named by their content
    const json = (name: string) => readFileSync(join(at(name), 'model.json'), 'utf8');
    expect(json('streamed')).to.equal(json('whole'));

    const again = await sparsify(at('streamed'), at('none'), '--stream');
    expect(again.code).to.equal(2);
    expect(again.stderr).to.include('--stream reads checkpoints');
  });
});
