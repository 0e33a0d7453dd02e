"""Tries a running server with clients that others wrote: tritonclient, kserve, openai (PyPI).

Usage:
  python3 -m venv clients && clients/bin/pip install 'tritonclient[http]' kserve openai
  npx tfjs-sparsify serve digits=models/digits chat=LANGUAGE_MODEL --port 8501
  clients/bin/python scripts/deploy/clients.py http://127.0.0.1:8501 [--no-chat]
"""
import asyncio
import json
import sys
import urllib.request

import numpy as np


def images(rows):
    return np.random.default_rng(0).random((rows, 784), dtype=np.float32)


def metadata(url):
    return json.load(urllib.request.urlopen(f'{url}/v2/models/digits'))


def try_curl(url):
    """What `curl -d` sends; its answer is what the other clients' are held against."""
    body = json.dumps({'instances': images(5).tolist()}).encode()
    answer = json.load(urllib.request.urlopen(f'{url}/v1/models/digits:predict', body))
    return np.array(answer['predictions'], dtype=np.float32)


def try_triton(url, expected):
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException

    client = triton.InferenceServerClient(url.removeprefix('http://'))
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready('digits')
    name, output = metadata(url)['inputs'][0]['name'], metadata(url)['outputs'][0]['name']
    for binary_in in (True, False):
        for binary_out in (True, False):
            tensor = triton.InferInput(name, [5, 784], 'FP32')
            tensor.set_data_from_numpy(images(5), binary_data=binary_in)
            wanted = [triton.InferRequestedOutput(output, binary_data=binary_out)]
            got = client.infer('digits', [tensor], outputs=wanted).as_numpy(output)
            assert np.allclose(got, expected, atol=1e-6), (binary_in, binary_out)
    tensor = triton.InferInput(name, [1, 783], 'FP32')
    tensor.set_data_from_numpy(images(1)[:, :783])
    try:
        client.infer('digits', [tensor])
        raise AssertionError('a wrong shape was taken')
    except InferenceServerException as error:
        assert error.status() == '400', error


async def try_kserve(url, expected):
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

    client = InferenceRESTClient(RESTConfig(protocol='v2'))
    assert await client.is_server_ready(url) and await client.is_model_ready(url, 'digits')
    for binary in (True, False):
        tensor = InferInput(name=metadata(url)['inputs'][0]['name'], shape=[5, 784], datatype='FP32')
        tensor.set_data_from_numpy(images(5), binary_data=binary)
        request = InferRequest(model_name='digits', infer_inputs=[tensor])
        answer = await client.infer(url, request, model_name='digits')
        assert np.allclose(answer.outputs[0].as_numpy(), expected, atol=1e-6)
    old = InferenceRESTClient(RESTConfig(protocol='v1'))
    answer = await old.infer(url, {'instances': images(5).tolist()}, model_name='digits')
    assert np.allclose(answer['predictions'], expected, atol=1e-6)


def try_openai(url):
    import openai

    client = openai.OpenAI(base_url=f'{url}/v1', api_key='none')
    assert 'chat' in [model.id for model in client.models.list()]
    assert client.models.retrieve('chat').id == 'chat'
    asked = dict(
        model='chat',
        messages=[{'role': 'user', 'content': 'Name three colours.'}],
        max_tokens=20,
        temperature=0,
    )
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={'include_usage': True}))
    text = ''.join(chunk.choices[0].delta.content or '' for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content, text
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
    seeded = [
        client.completions.create(model='chat', prompt='Once', max_tokens=8, seed=7, top_p=0.9).choices[0].text
        for _ in range(2)
    ]
    assert seeded[0] == seeded[1], seeded
    try:
        client.chat.completions.create(**{**asked, 'model': 'nope'})
        raise AssertionError('an unknown model was taken')
    except openai.NotFoundError:
        pass


def main():
    if len(sys.argv) < 2 or '--help' in sys.argv:
        print(__doc__)
        return
    url = sys.argv[1]
    expected = try_curl(url)
    try_triton(url, expected)
    print('tritonclient: ok')
    asyncio.run(try_kserve(url, expected))
    print('kserve: ok')
    if '--no-chat' not in sys.argv:
        try_openai(url)
        print('openai: ok')


main()
