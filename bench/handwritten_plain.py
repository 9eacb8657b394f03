"""What people mostly write by hand: Starlette on uvicorn, the standard json module, onnxruntime per request.

``python bench/handwritten_plain.py MODEL.onnx FD`` serves V2 inference on an inherited listening socket, with
uvicorn's fast loop and parser (uvloop, httptools) and no access log. ``handwritten.py`` is the same app tuned as
far as it goes without batching.
"""

import json
import socket
import sys

import numpy as np
import onnxruntime
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route


def application(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    outputs = session.get_outputs()

    async def infer(request):
        try:
            tensor = json.loads(await request.body())["inputs"][0]
            rows = np.array(tensor["data"], dtype=np.float32).reshape(tensor["shape"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        found = [
            {
                "name": output.name,
                "shape": list(value.shape),
                "datatype": "INT64" if value.dtype == np.int64 else "FP32",
                "data": value.ravel().tolist(),
            }
            for output, value in zip(outputs, session.run(None, {name: rows}), strict=True)
        ]
        return JSONResponse({"model_name": request.path_params["model"], "outputs": found})

    return Starlette(routes=[Route("/v2/models/{model}/infer", infer, methods=["POST"])])


if __name__ == "__main__":
    config = uvicorn.Config(
        application(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[2]))])
