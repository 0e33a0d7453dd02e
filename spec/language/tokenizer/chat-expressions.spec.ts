import {expect} from 'chai';
import {readFileSync} from 'node:fs';
import {ModelError} from '../../../lib/errors.js';
import {applyChatTemplate} from '../../../lib/language/tokenizer/chat.js';
import type {ChatMessage} from '../../../lib/language/tokenizer/chat.js';
import {strftime} from '../../../lib/language/tokenizer/jinja/strftime.js';

/** What Python's jinja2 answers, null where it raises: spec/fixtures/jinja/README.md. */
const {variables, answers} = JSON.parse(
  readFileSync(new URL('../../fixtures/jinja/templates.json', import.meta.url), 'utf8'),
) as {variables: Record<string, unknown>; answers: [string, string | null][]};
const {messages, bos_token, eos_token, add_generation_prompt: _, ...others} = variables;

/** Templates that jinja2 renders and this package refuses: nothing else may be refused. */
const REFUSED = [
  ...[
    '{{ (1,) }}',
    '{{ 1e3 }}',
    '{{ 1_000 }}',
    '{{ {1: 2} }}',
    '{{ 9007199254740993 }}',
    '{{ 9007199254740992 * 3 }}',
  ],
  ...[
    '{{ 1 < 2 < 3 }}',
    '{{ 1 == 1 == 1 }}',
    '{{ [1] < [2] }}',
    "{{ '{a}'.format(a=1) }}",
    "{{ ('<' | e) ~ '<' }}",
  ],
  ...['{{ numbers | reverse }}', '{{ schema.items() }}', '{{ range(3) }}', '{{ namespace(a=1) }}'],
  ...[
    '{{ numbers | batch(2) | list }}',
    '{{ numbers | random }}',
    "{{ 'abc' | center(9) }}|",
    '{{ name | urlencode }}',
  ],
  ...[
    "{{ 'abcdefghij' | truncate(5) }}",
    "{{ name.encode('utf8') }}",
    '{{ name.center(20) }}',
    "{{ 'ᾳ' | capitalize }}",
  ],
  ...[
    "{% for x in numbers %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    '{% for x in numbers %}{{ loop.depth }}{% endfor %}',
  ],
  ...["{{ 'x' is in ['x'] }}", '{{ 4 is divisibleby(2) }}', '{{ 5 is eq 5 }}', '{{ yes is sameas true }}'],
  ...['{% set x = 3 %}{% if x is sameas 3 %}same{% endif %}', '{% raw %}{{ x }}{% endraw %}'],
];

const render = (chat_template: string) =>
  applyChatTemplate(
    {tokenizer: {}, config: {chat_template, bos_token, eos_token}},
    messages as ChatMessage[],
    {
      variables: others,
    },
  );

describe('expressions of chat templates', () => {
  for (const [template, answer] of answers) {
    const isRefused = answer === null || REFUSED.includes(template) || template.includes("'%x' % 255");
    it(`${isRefused ? 'are refused' : 'give what jinja2 gives'}: ${JSON.stringify(template).slice(1, 80)}`, () => {
      if (isRefused) {
        expect(() => render(template))
          .to.throw(ModelError)
          .with.property('code', 'chat-template');
      } else {
        expect(render(template)).to.equal(answer);
      }
    });
  }

  it('that cannot be computed are named in the error, with a way out', () => {
    for (const [template, named] of [
      ['{% for m in messages %}{{ m.content | truncate(5) }}{% endfor %}', 'm.content | truncate(5)'],
      ["{{ 'a' + messages[0].missing }}", '"a" + messages[0].missing'],
      ['{% if messages[0].missing.role %}x{% endif %}', 'messages[0].missing.role'],
      ['{% if 1 < 2 < 3 %}x{% endif %}', '1 < 2 < 3'],
    ]) {
      expect(() => render(template))
        .to.throw(ModelError, named)
        .with.property('message')
        .that.contains('chat_template');
    }
  });

  it('see tools and documents as none, and only the special tokens that there are', () => {
    const template =
      '{{ tools is none }} {{ documents is none }} {{ pad_token is defined }} {{ unk_token is defined }} ' +
      '{{ bos_token }} {{ eos_token is defined }} {{ add_generation_prompt }} {{ additional_special_tokens }}';
    const source = (more: object) => ({
      tokenizer: {},
      config: {chat_template: template, bos_token: '<s>', ...more},
    });
    const chat = [{role: 'user', content: 'a'}];
    expect(applyChatTemplate(source({pad_token: null}), chat)).to.equal(
      'True True False False <s> False True ',
    );
    const tokens = {
      pad_token: {content: '<pad>'},
      eos_token: '</s>',
      additional_special_tokens: ['<a>', {content: '<b>'}],
    };
    expect(applyChatTemplate(source(tokens), chat, {addGenerationPrompt: false})).to.equal(
      "True True True False <s> True False ['<a>', '<b>']",
    );
    const tools = [{type: 'function'}];
    expect(applyChatTemplate(source({}), chat, {variables: {tools, documents: []}})).to.match(/^False False/);
  });

  it('repeat no more than a limit', () => {
    expect(() => render('{{ range(1000000) | length }}')).to.throw(ModelError, '100000');
    expect(() => render("{{ 'ab' * 100000000 }}")).to.throw(ModelError, 'too long');
    expect(() => render('{{ 2 ** 100000 }}')).to.throw(ModelError, 'finite');
  });

  it('write dates in English, as the C locale of Python', () => {
    const date = new Date(2024, 6, 4, 15, 8, 9); // a Thursday
    expect(strftime(date, '%d %b %Y, %A %B %-d %y %m %H:%M:%S %I%p %a %%')).to.equal(
      '04 Jul 2024, Thursday July 4 24 07 15:08:09 03PM Thu %',
    );
    expect(() => strftime(date, '%Q')).to.throw('%Q');
    expect(render("{{ strftime_now('%Y') }}")).to.equal(String(new Date().getFullYear()));
  });
});
