"""What the engine tests run: one environment on flyte's own image, one task per kind of ending."""

import asyncio
import os
import time
import urllib.error
import urllib.request

import flyte
import flyte.errors
import flyte.remote
from connectrpc.errors import ConnectError
from flyte.io import File

env = flyte.TaskEnvironment(name="flows", env_vars={"FROM_TASK": "task", "SHARED": "task"})
small = flyte.TaskEnvironment(name="small", resources=flyte.Resources(cpu=1, memory="200Mi"))
parents = flyte.TaskEnvironment(name="parents", depends_on=[env, small])


@env.task
async def write(text: str) -> File:
    file = File.new_remote()
    async with file.open("wb") as stream:
        await stream.write(text.encode())
    return file


@env.task
async def read(file: File) -> str:
    async with file.open("rb") as stream:
        return bytes(await stream.read()).decode()


@parents.task
async def pass_file(text: str) -> str:
    print("parent runs in", os.environ["HOSTNAME"])
    return await read(await write(text))


@env.task
async def fail(text: str) -> str:
    raise ValueError(text)


@parents.task
async def catch(text: str) -> str:
    try:
        return await fail(text)
    except flyte.errors.RuntimeUserError as error:
        return f"{error.code}: {error}"


@env.task(retries=1)
async def outlast() -> str:
    """Waits in its first attempt for what ends it."""
    attempt = int(os.environ["FLYTE_ATTEMPT_NUMBER"])
    if attempt == 0:
        await asyncio.sleep(600)
    return f"attempt {attempt}"


@env.task(retries=2)
async def flaky() -> str:
    attempt = int(os.environ["FLYTE_ATTEMPT_NUMBER"])
    if attempt < 2:
        raise RuntimeError(f"attempt {attempt} fails")
    return f"attempt {attempt}"


@env.task
def sleep_long() -> str:
    print("asleep")
    time.sleep(600)
    return "never"


@parents.task
async def wait_for_sleeper() -> str:
    return await sleep_long.aio()


@env.task(timeout=3)
def too_slow() -> str:
    time.sleep(600)
    return "never"


@parents.task
async def outlive() -> str:
    try:
        return await too_slow.aio()
    except flyte.errors.TaskTimeoutError as error:
        return type(error).__name__


@env.task
async def leave(code: int) -> str:
    print("leaving")
    os._exit(code)


@parents.task
async def survive(code: int) -> str:
    try:
        return await leave(code)
    except flyte.errors.RuntimeUserError as error:
        return f"user {error.code}"
    except flyte.errors.RuntimeSystemError as error:
        return f"system {error.code}"


@small.task
async def devour() -> int:
    return len(b"x" * (1 << 30))


@parents.task
async def starve() -> str:
    try:
        return str(await devour())
    except flyte.errors.OOMError as error:
        return type(error).__name__


@env.task
async def variables(names: list[str]) -> list[str]:
    return [os.environ.get(name, "") for name in names]


@env.task(cache=flyte.Cache(behavior="override", version_override="1"))
async def double(number: int) -> int:
    return 2 * number


@parents.task
async def fan_out(count: int) -> list[int]:
    return list(await asyncio.gather(*(double(number) for number in range(count))))


@env.task
async def ask() -> list[str]:
    """Asks twice, answers the first question itself, and waits in vain for the second answer."""
    first = await flyte.new_condition.aio("first", prompt="Go on?", data_type=bool)
    second = await flyte.new_condition.aio("second", prompt="How many?", data_type=int, timeout=1)
    run_name = flyte.ctx().action.run_name
    found = None
    while found is None:
        found = await flyte.remote.Condition.get.aio("first", run_name=run_name)
    try:
        await found.signal.aio("a text")
    except ConnectError as error:
        refused = str(error)
    await found.signal.aio(True)
    answer = await first.wait.aio()
    try:
        await second.wait.aio()
    except flyte.errors.ConditionTimedoutError as error:
        return [repr(answer), found.phase, refused, str(error)]
    return ["the second was answered"]


@env.task
async def snoop(victim: str, folder: str) -> list[str]:
    """Tries to reach another run, and what is the owner's, from inside a container."""
    import obstore
    from flyteidl2.common.identifier_pb2 import ActionIdentifier, RunIdentifier
    from flyteidl2.workflow import run_service_pb2 as pb
    from flyteidl2.workflow.run_service_connect import RunServiceClientSync
    from obstore.store import S3Store

    endpoint = os.environ["_U_EP_OVERRIDE"]
    bare = endpoint.partition("/run/")[0]
    run = RunIdentifier(org="local", project="flytebuild", domain="development", name=victim)
    details, abort = pb.GetRunDetailsRequest(run_id=run), pb.AbortRunRequest(run_id=run)
    signal = pb.SignalEventRequest(action_id=ActionIdentifier(run=run, name="a0"))
    store = S3Store(
        "flytebuild",
        config={
            "endpoint": os.environ["FLYTE_AWS_ENDPOINT"],
            "access_key_id": os.environ["FLYTE_AWS_ACCESS_KEY_ID"],
            "secret_access_key": os.environ["FLYTE_AWS_SECRET_ACCESS_KEY"],
            "region": os.environ["AWS_REGION"],
        },
        client_options={"allow_http": True},
    )
    tries = {
        "details": lambda: RunServiceClientSync(endpoint).get_run_details(details),
        "abort": lambda: RunServiceClientSync(endpoint).abort_run(abort),
        "signal": lambda: RunServiceClientSync(endpoint).signal_event(signal),
        "without a credential": lambda: RunServiceClientSync(bare).abort_run(abort),
        "a page": lambda: urllib.request.urlopen(f"{bare}/api/runs").read(),
        "as the host": lambda: urllib.request.urlopen(
            urllib.request.Request(f"{bare}/api/runs", headers={"host": "127.0.0.1:1"})
        ).read(),
        "read": lambda: obstore.get(store, f"{folder}/a0/1/outputs.pb"),
        "write": lambda: obstore.put(store, f"{folder}/a0/1/outputs.pb", b"forged"),
        "list": lambda: list(obstore.list(store, folder)),
    }
    reached = []
    for name, attempt in tries.items():
        try:
            attempt()
            reached.append(name)
        except (ConnectError, urllib.error.HTTPError, obstore.exceptions.BaseError) as error:
            if "credential" not in str(error) and "no part" not in str(error) and "403" not in str(error):
                reached.append(f"{name}: {error}")
    return reached


@parents.task
async def start_a_run(number: int) -> int:
    run = await flyte.run.aio(double, number=number)
    await run.wait.aio()
    (output,) = await run.outputs.aio()
    return output


@env.task
async def nap(seconds: float) -> str:
    print("napping", flush=True)
    await asyncio.sleep(seconds)
    return "awake"


@parents.task
async def watch_a_nap(seconds: float) -> str:
    return await nap(seconds)
