import {expect} from 'chai';
import {renderModelCard, stepsOfCard} from '../../lib/report/model-card.js';
import {blockPaths, contents} from '../support/report-contents.js';

describe('a model card', () => {
  const known = contents(['hidden_1', 'hidden_2', 'digits'], 'digits');
  const card = renderModelCard(known, {isLanguageModel: false});

  it('begins with front matter as Hugging Face reads it', () => {
    const [, front] = /^---\n(.*?)\n---\n/s.exec(card)!;
    expect(front)
      .to.match(/^library_name: tfjs-sparsify$/m)
      .and.match(/^ {2}- activation-sparsity$/m);
    expect(front).to.include('- type: "accuracy"\n            value: 0.9755');
  });

  it('has the figures of the report', () => {
    expect(card).to.include('| dense | float32 | – | 98.15 % |');
    expect(card).to.include('| sparse | float32 | 48.0 % | 97.55 % |');
    expect(card).to.include('| sparse | 1 ms | 2.50x |');
    expect(card).to.include('| `hidden_2` | 1 | 50.0 % | 48.1 % |');
    expect(card).to.include('tfjs-sparsify sparsify m').and.include('ab'.repeat(32));
  });

  it('keeps the steps that made the model for the next one', () => {
    const command = "tfjs-sparsify sparsify '--> <!-- x -->' \n`";
    const steps = [{...known.steps[0], command}, known.steps[0]];
    const text = renderModelCard({...known, steps}, {isLanguageModel: true});
    expect(stepsOfCard(text)).to.deep.equal(steps);
    expect(text.match(/-->/g)).to.have.length(1 + 2); // the comment's end, and the command in its code block
  });

  it('is told from any other README', () => {
    expect(stepsOfCard('# My model\n')).to.equal(null);
    expect(stepsOfCard('<!-- tfjs-sparsify card {"steps": 3} -->')).to.deep.equal([]);
    expect(stepsOfCard('<!-- tfjs-sparsify card {} {}} -->')).to.deep.equal([]);
  });

  it('lists so many layers and says how many more there are', () => {
    const paths = ['a', 'b', 'c'];
    const text = renderModelCard(contents(paths), {isLanguageModel: false, maxLayers: 2});
    expect(text).to.include('| `b` | 1 |').and.include('And 1 more.');
    expect(text).to.not.include('| `c` | 1 |');
    expect(renderModelCard(contents(paths), {isLanguageModel: false, maxLayers: 3})).to.not.include(' more.');
  });

  it('counts layers of blocks by their kind', () => {
    const text = renderModelCard(contents(blockPaths(4)), {isLanguageModel: true});
    expect(text).to.include('| `mlp.up_proj` | 4 | 50.0 % |').and.include('pipeline_tag: text-generation');
  });

  it('says what a row reads only where rows are skipped, and of an allocation whether it meets its target', () => {
    expect(card).to.include('One item reads ');
    const {measured, allocation, ...rest} = known;
    const layers = measured.layers.map((layer) => ({...layer, actual: 0}));
    const none = renderModelCard(
      {...rest, allocation, measured: {...measured, layers}},
      {isLanguageModel: false},
    );
    expect(none).to.not.include('One item reads ');
    const missed = renderModelCard(
      {...rest, measured, allocation: {...allocation!, met: false}},
      {isLanguageModel: false},
    );
    expect(missed).to.include('which no allocation meets: this comes nearest');
    expect(card).to.not.include('which no allocation meets');
  });

  it('has a code span for a name that begins or ends with a backtick', () => {
    const text = renderModelCard(contents(['`a', 'b`']), {isLanguageModel: false});
    expect(text).to.include('| `` `a `` |').and.include('| `` b` `` |');
  });

  it('leaves out what is not known', () => {
    const nothing = {allocation: null, quality: null, latency: null, bench: null, steps: []};
    const text = renderModelCard({...known, ...nothing}, {isLanguageModel: false});
    expect(text)
      .to.not.match(/^## (Quality|Latency|Allocation|How it was made)$/m)
      .and.not.include('model-index');
    expect(text)
      .to.match(/^## Sparsity$/m)
      .and.match(/^## Use$/m);
  });

  it('takes names from models as text', () => {
    const hostile = 'a|b`<script>alert(1)</script>\n# c';
    const text = renderModelCard(contents([hostile, 'b'], hostile), {isLanguageModel: false});
    expect(text).to.include('# a\\|b\\`\\<script\\>alert(1)\\</script\\> \\# c');
    expect(text).to.include('| ``a\\|b`<script>alert(1)</script> # c`` |');
    expect(text).to.not.match(/^# c/m);
  });
});
