"""What a good engineer writes by hand: one process, uvicorn, raw ASGI, onnxruntime, no versioning.

``python bench/handwritten.py MODEL.onnx FD`` serves V2 inference on an inherited listening socket. Predict runs
on the loop, one request one predict; msgspec decodes only what is used. The same uvicorn settings as
the gateway's.
"""

import asyncio
import gc
import socket
import sys

import msgspec
import numpy as np
import onnxruntime
import uvicorn
import uvloop


class Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Question(msgspec.Struct):
    inputs: list[Tensor]
    id: str | None = None


def application(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    outputs = [
        (output.name, "INT64" if "int64" in output.type else "FP32") for output in session.get_outputs()
    ]
    decode = msgspec.json.Decoder(Question).decode
    encode = msgspec.json.Encoder().encode

    async def app(_scope, receive, send):
        body = (await receive())["body"]
        try:
            tensor = decode(body).inputs[0]
            rows = np.array(tensor.data, dtype=np.float32).reshape(tensor.shape)
            found = [
                {"name": label, "shape": value.shape, "datatype": kind, "data": value.ravel().tolist()}
                for (label, kind), value in zip(outputs, session.run(None, {name: rows}), strict=True)
            ]
            status, answer = 200, encode({"model_name": "model", "outputs": found})
        except (msgspec.DecodeError, ValueError) as error:
            status, answer = 400, encode({"error": str(error)})
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


async def serve(path, fd):
    config = uvicorn.Config(
        application(path),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
    )
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    with socket.socket(fileno=fd) as listening:
        await uvicorn.Server(config).serve(sockets=[listening])


if __name__ == "__main__":
    uvloop.run(asyncio.wait_for(serve(sys.argv[1], int(sys.argv[2])), None))
