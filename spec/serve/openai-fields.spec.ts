import {expect} from 'chai';
import {chatMessages} from '../../lib/serve/protocols/chat-messages.js';
import {checkChat, checkCompletion} from '../../lib/serve/protocols/openai-fields.js';

const CHAT = {model: 'm', messages: [{role: 'user', content: 'a'}]};
const COMPLETION = {model: 'm', prompt: 'a'};

/** What a request is refused with. */
function refusal(check: () => unknown): {status: number; code: string; field: string; message: string} {
  try {
    check();
  } catch (error) {
    return error as {status: number; code: string; field: string; message: string};
  }
  throw new Error('it was taken');
}

describe('the fields of an OpenAI-style request', () => {
  const full = {
    ...{max_tokens: 1, temperature: 0.5, top_p: 0.5, top_k: 3, min_p: 0.1, n: 16, stop: ['a', 'b']},
    ...{seed: 2 ** 63, stream: true, sparse: false, stream_options: {include_usage: true}},
  };
  const beside = {
    ...{user: 'u', metadata: {a: 'b'}, store: true, service_tier: 'auto', safety_identifier: 's'},
    ...{prompt_cache_key: 'k', prompt_cache_retention: '24h', prediction: {}, parallel_tool_calls: true},
    ...{cache_prompt: true, request_id: 'r'},
  };
  const neutral = {
    ...{
      tools: [],
      functions: [],
      tool_choice: 'auto',
      function_call: 'none',
      response_format: {type: 'text'},
    },
    ...{logprobs: false, top_logprobs: 0, logit_bias: {}, presence_penalty: 0, frequency_penalty: 0},
    ...{repetition_penalty: 1, repeat_penalty: 1, length_penalty: 1, typical_p: 1, best_of: 1, echo: false},
    ...{use_beam_search: false, suffix: '', modalities: ['text'], reasoning_effort: 'none', min_tokens: 0},
    ...{verbosity: 'medium', stop_token_ids: [], ignore_eos: false, include_stop_str_in_output: false},
    ...{skip_special_tokens: true, spaces_between_special_tokens: true, add_generation_prompt: true},
    ...{continue_final_message: false, chat_template_kwargs: {}, documents: []},
  };

  it('are taken as they are, with those that say nothing of the text, that change nothing, and null', () => {
    const nulls = {
      temperature: null,
      seed: null,
      stop: null,
      n: null,
      logit_bias: null,
      tools: null,
      unheard_of: null,
    };
    const chat = {...CHAT, ...full, ...beside, ...neutral, max_completion_tokens: 5};
    expect(checkChat(chat)).to.equal(chat);
    expect(checkChat({...CHAT, ...nulls})).to.deep.equal({...CHAT, ...nulls});
    const completion = {...COMPLETION, ...full, ...beside, ...neutral};
    expect(checkCompletion(completion)).to.equal(completion);
  });

  for (const [field, value] of [
    ['tools', [{}]],
    ['functions', [{}]],
    ['tool_choice', 'required'],
    ['function_call', {name: 'f'}],
    ['response_format', {type: 'json_object'}],
    ['logprobs', true],
    ['logprobs', 0],
    ['top_logprobs', 1],
    ['logit_bias', {'5': 1}],
    ['presence_penalty', 0.1],
    ['frequency_penalty', -0.1],
    ['repetition_penalty', 1.1],
    ['best_of', 2],
    ['echo', true],
    ['suffix', 'a'],
    ['audio', {}],
    ['modalities', ['text', 'audio']],
    ['reasoning_effort', 'low'],
    ['min_tokens', 1],
    ['stop_token_ids', [1]],
    ['ignore_eos', true],
    ['chat_template', 'x'],
  ] as const) {
    it(`are refused where ${field} is ${JSON.stringify(value)}`, () => {
      for (const check of [
        () => checkChat({...CHAT, [field]: value}),
        () => checkCompletion({...COMPLETION, [field]: value}),
      ]) {
        const {status, code, field: named, message} = refusal(check);
        expect([status, code, named]).to.deep.equal([400, 'unsupported-parameter', field]);
        expect(message).to.contain(`"${field}" is not supported here`);
      }
    });
  }

  for (const [change, field, text] of [
    [{max_token: 5}, 'max_token', '(there is "max_tokens")'],
    [{mirostat: 2}, 'mirostat', '"mirostat" is not known here'],
    [{constructor: 2}, 'constructor', 'not known here'],
    [{prompt: 'a'}, 'prompt', 'not known here'],
    [{stream_options: {include_usages: true}}, 'stream_options.include_usages', 'not supported'],
    [{stream_options: {include_obfuscation: true}}, 'stream_options.include_obfuscation', 'not supported'],
    [{stream_options: true}, 'stream_options', 'stream_options is true; stream_options must be an object'],
    [{stop: ['']}, 'stop.0', 'stop.0 is ""; stop must be a text that is not empty'],
    [{stop: ''}, 'stop', 'stop is ""; stop must be a text that is not empty'],
    [{stop: Array(17).fill('a')}, 'stop', 'an array of up to 16'],
    [{seed: 1.5}, 'seed', 'seed is 1.5; seed must be a whole number of 64 bits'],
    [{seed: 1e30}, 'seed', 'a whole number of 64 bits'],
    [{seed: '5'}, 'seed', 'seed is "5"'],
    [{n: 17}, 'n', 'from 1 to 16'],
    [{n: 0}, 'n', 'n is 0'],
    [{temperature: 2.1}, 'temperature', 'from 0 to 2'],
    [{top_p: 0}, 'top_p', 'above 0'],
    [{top_k: -2}, 'top_k', 'top_k is -2'],
    [{top_k: 1.5}, 'top_k', 'a whole number'],
    [{min_p: 1.1}, 'min_p', 'from 0 to 1'],
    [{max_tokens: 0}, 'max_tokens', 'a whole number from 1'],
    [{max_completion_tokens: 1.5}, 'max_completion_tokens', 'a whole number from 1'],
    [{stream: 'yes'}, 'stream', 'stream is "yes"; stream must be true or false'],
    [{messages: []}, 'messages', 'messages is []'],
    [{messages: ['a']}, 'messages.0', 'messages.0 is "a"'],
    [{model: 5}, 'model', 'model is 5'],
  ] as const) {
    it(`are refused by name in ${JSON.stringify(change).slice(0, 60)}`, () => {
      const {status, field: named, message} = refusal(() => checkChat({...CHAT, ...change}));
      expect([status, named]).to.deep.equal([400, field]);
      expect(message).to.contain(text);
    });
  }

  it('are refused where one is missing, and where there are none', () => {
    expect(refusal(() => checkChat({messages: CHAT.messages})).message).to.contain('model');
    expect(refusal(() => checkChat({model: 'm'})).message).to.contain('messages');
    for (const body of [null, [], 'a', 5])
      expect(refusal(() => checkChat(body)).message).to.equal('the body must be object');
  });

  for (const [prompt, field] of [
    [[], 'prompt'],
    [[-1], 'prompt'],
    [[1.5], 'prompt'],
    [['a', 1], 'prompt'],
    [Array(17).fill('a'), 'prompt'],
    [{}, 'prompt'],
  ] as const) {
    it(`are refused for the prompt ${JSON.stringify(prompt).slice(0, 40)}`, () => {
      const {status, field: named} = refusal(() => checkCompletion({model: 'm', prompt}));
      expect(status).to.equal(400);
      expect(named.split('.')[0]).to.equal(field);
    });
  }
});

describe('the messages of a chat', () => {
  for (const [what, message, expected] of [
    ['text', {role: 'user', content: 'a'}, {role: 'user', content: 'a'}],
    ['an empty text', {role: 'user', content: ''}, {role: 'user', content: ''}],
    [
      'parts',
      {
        role: 'user',
        content: [
          {type: 'text', text: 'a'},
          {type: 'text', text: 'b'},
        ],
      },
      {role: 'user', content: 'ab'},
    ],
    ["a developer's", {role: 'developer', content: 'a'}, {role: 'system', content: 'a'}],
    ['a name', {role: 'user', content: 'a', name: 'Ada'}, {role: 'user', content: 'a', name: 'Ada'}],
    ['a role of the template', {role: 'ipython', content: 'a'}, {role: 'ipython', content: 'a'}],
    ['an answer of null', {role: 'assistant', content: null}, {role: 'assistant', content: ''}],
    ['an answer without content', {role: 'assistant'}, {role: 'assistant', content: ''}],
    ['a refusal', {role: 'assistant', content: null, refusal: 'no'}, {role: 'assistant', content: 'no'}],
    [
      'a refusal that is a part',
      {role: 'assistant', content: [{type: 'refusal', refusal: 'no'}]},
      {role: 'assistant', content: 'no'},
    ],
    ['annotations', {role: 'assistant', content: 'a', annotations: [{}]}, {role: 'assistant', content: 'a'}],
    [
      'fields that are empty',
      {role: 'assistant', content: 'a', tool_calls: [], reasoning_content: '', audio: null, x: null},
      {role: 'assistant', content: 'a'},
    ],
    [
      'a part with annotations',
      {role: 'assistant', content: [{type: 'text', text: 'a', annotations: []}]},
      {role: 'assistant', content: 'a'},
    ],
  ] as const) {
    it(`may have ${what}`, () => expect(chatMessages([message])).to.deep.equal([expected]));
  }

  for (const [message, field, text] of [
    [{role: 'user'}, 'messages.1.content', 'is missing; it must be text'],
    [{role: 'user', content: null}, 'messages.1.content', 'is null; it must be text'],
    [{role: 'user', content: 5}, 'messages.1.content', 'is 5'],
    [{content: 'a'}, 'messages.1.role', 'is missing'],
    [{role: 5, content: 'a'}, 'messages.1.role', 'is 5'],
    [{role: 'tool', content: '5', tool_call_id: 'c'}, 'messages.1.role', 'tools are not supported here'],
    [{role: 'function', content: '5', name: 'f'}, 'messages.1.role', 'tools are not supported here'],
    [
      {role: 'assistant', content: null, tool_calls: [{id: 'c'}]},
      'messages.1.tool_calls',
      'not supported here',
    ],
    [{role: 'assistant', function_call: {name: 'f'}}, 'messages.1.function_call', 'not supported here'],
    [{role: 'assistant', content: 'a', audio: {id: 'x'}}, 'messages.1.audio', 'not supported here'],
    [
      {role: 'assistant', content: 'a', reasoning_content: 'x'},
      'messages.1.reasoning_content',
      'not supported',
    ],
    [{role: 'user', content: 'a', contents: 'b'}, 'messages.1.contents', 'is not known here'],
    [{role: 'user', content: 'a', name: 5}, 'messages.1.name', 'is 5'],
    [{role: 'assistant', content: 'a', refusal: 5}, 'messages.1.refusal', 'is 5'],
    [{role: 'user', content: 'a', refusal: 'no'}, 'messages.1.refusal', 'in an assistant'],
    [
      {role: 'user', content: [{type: 'image_url', image_url: {}}]},
      'messages.1.content.0.type',
      '"image_url"',
    ],
    [
      {role: 'user', content: [{type: 'refusal', refusal: 'no'}]},
      'messages.1.content.0.type',
      'must be "text"',
    ],
    [{role: 'user', content: [{type: 'text', text: 'a'}, 'b']}, 'messages.1.content.1', 'must be an object'],
    [{role: 'user', content: [{type: 'text'}]}, 'messages.1.content.0.text', 'is missing'],
    [
      {role: 'user', content: [{type: 'text', text: 'a', cache_control: {}}]},
      'messages.1.content.0.cache_control',
      'not known',
    ],
  ] as const) {
    it(`are refused by name in ${JSON.stringify(message).slice(0, 70)}`, () => {
      const {
        status,
        field: named,
        message: said,
      } = refusal(() => chatMessages([{role: 'user', content: 'a'}, message]));
      expect([status, named]).to.deep.equal([400, field]);
      expect(said).to.contain(text).and.contain('messages.1');
    });
  }
});
