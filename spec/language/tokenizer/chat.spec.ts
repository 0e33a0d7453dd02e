import {expect} from 'chai';
import {openGguf} from '../../../lib/language/import/local-checkpoints.js';
import {applyChatTemplate} from '../../../lib/language/tokenizer/chat.js';
import type {TokenizerSource} from '../../../lib/language/tokenizer/source.js';
import {rejection} from '../../support/rejection.js';
import {smollm2} from '../../support/language/smollm2.js';

const source = (config: Record<string, unknown>): TokenizerSource => ({tokenizer: {}, config});

describe('chat template', () => {
  it('writes the chat of SmolLM2 as its model card shows it', async () => {
    const checkpoint = await openGguf(smollm2());
    await checkpoint.close();
    const text = applyChatTemplate(checkpoint.tokenizer!, [
      {role: 'user', content: 'What is the capital of France?'},
    ]);
    expect(text).to.equal(
      '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' +
        '<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n',
    );
  });

  it('gives the template special tokens, messages, and variables of the caller', () => {
    const template =
      '{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}>{% endif %}{{ mood }}';
    const config = {chat_template: template, bos_token: {content: '<s>'}, eos_token: '</s>'};
    const messages = [
      {role: 'user', content: 'a'},
      {role: 'assistant', content: 'b'},
    ];
    expect(applyChatTemplate(source(config), messages)).to.equal('<s>[user]a</s>[assistant]b</s>>');
    const options = {addGenerationPrompt: false, variables: {mood: '!'}};
    expect(applyChatTemplate(source(config), messages, options)).to.equal('<s>[user]a</s>[assistant]b</s>!');
  });

  it('chooses among several templates by name', async () => {
    const config = {
      chat_template: [
        {name: 'default', template: 'one'},
        {name: 'tool_use', template: 'two'},
      ],
    };
    expect(applyChatTemplate(source(config), [])).to.equal('one');
    expect(applyChatTemplate(source(config), [], {template: 'tool_use'})).to.equal('two');
    const error = await rejection(
      () => applyChatTemplate(source(config), [], {template: 'rag'}),
      'no-chat-template',
    );
    expect(error.message).to.contain('rag').and.contain('tool_use');
  });

  it('says that a model has none', async () => {
    for (const config of [{}, {chat_template: []}, {chat_template: 7}]) {
      const messages = [{role: 'user', content: 'a'}];
      await rejection(() => applyChatTemplate(source(config), messages), 'no-chat-template');
    }
  });

  it('parses no template of more than a megabyte', async () => {
    const config = {chat_template: '{{ messages }}'.padEnd(2 ** 20 + 1)};
    const messages = [{role: 'user', content: 'a'}];
    const error = await rejection(() => applyChatTemplate(source(config), messages), 'chat-template');
    expect(error.message).to.contain('1048577 characters').and.contain('tokenizer_config.json');
  });

  it('says why a template refuses the messages', async () => {
    const config = {chat_template: "{{ raise_exception('roles must alternate') }}"};
    const error = await rejection(
      () => applyChatTemplate(source(config), [{role: 'x', content: 'a'}]),
      'chat-template',
    );
    expect(error.message).to.contain('roles must alternate');
  });

  it('says that a template is malformed', () =>
    rejection(() => applyChatTemplate(source({chat_template: '{% if %}'}), []), 'chat-template'));
});
