import {expect} from 'chai';
import {describeLayers, describeSparsity, layersJson} from '../../lib/cli/layer-list.js';
import {formatTable, percent, type Column} from '../../lib/cli/text-table.js';

describe('formatTable', () => {
  interface Row {
    readonly name: string;
    readonly n: number;
  }
  const columns: Column<Row>[] = [
    {title: 'name', cell: ({name}) => name},
    {title: 'n', cell: ({n}) => String(n), align: 'right'},
  ];

  it('makes columns as wide as their widest cell, numbers to the right', () => {
    const rows = [
      {name: 'a', n: 1},
      {name: 'longest', n: 1000},
    ];
    expect(formatTable(rows, columns).split('\n')).to.deep.equal([
      'name        n',
      'a           1',
      'longest  1000',
    ]);
  });

  it('leaves no space at the end of a line, and shows titles without rows', () => {
    expect(formatTable([{name: 'a', n: 1}], [columns[1], columns[0]]).split('\n')[1]).to.equal('1  a');
    expect(formatTable([], columns)).to.equal('name  n');
  });
});

describe('percent', () => {
  it('writes a share with its digits', () => {
    expect([percent(0.5), percent(0.12345, 2), percent(1)]).to.deep.equal(['50.0 %', '12.35 %', '100.0 %']);
  });
});

describe('reports of layers', () => {
  const layer = {
    path: 'a/b',
    inputSize: 4,
    units: 2,
    weightShare: 0.25,
    format: 'float32',
    bytes: 1250,
  } as const;
  const dense = {...layer, sparsified: false, target: null, reached: null, threshold: null};
  const sparse = {...layer, sparsified: true, target: 0.5, reached: 0.19, threshold: 0.123456};
  const open = {...layer, sparsified: true, target: null, reached: null, threshold: -Infinity};

  it('show a dash where a layer is not sparsified', () => {
    const [, first, second, third] = describeLayers([dense, sparse, open]).split('\n');
    expect(first).to.match(/^a\/b +4 +2 +25\.0 % +float32 +1\.3 KB +- +- +-$/);
    expect(second).to.match(/50\.0 % +19\.0 % +0\.12346$/);
    expect(third).to.match(/- +-Infinity$/);
    expect(describeSparsity([{path: 'a', target: null, actual: 0.25}])).to.match(/\na +- +25\.0 %$/);
  });

  it('are JSON that can be read back: a threshold that is not calibrated is null', () => {
    const rows = layersJson([dense, sparse, open]);
    expect(JSON.parse(JSON.stringify(rows))).to.deep.equal([dense, sparse, {...open, threshold: null}]);
  });
});
