"""Any Pydantic AI agent as a Reattach agent (extra `pydantic-ai`).

Its checkpoint is its message history. One is saved once the model has asked for tools, before they run: after a
take-over they run again under the same tool_call_id, and the model is not asked twice. One is saved with their
results, and one with the approvals a segment ends with.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter
from pydantic_ai import DeferredToolRequests, DeferredToolResults, ToolApproved, ToolDenied
from pydantic_ai.agent import AbstractAgent, Agent
from pydantic_ai.capabilities import ReinjectSystemPrompt
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    UserPromptPart,
)
from pydantic_ai.run import AgentRun, AgentRunResult
from pydantic_ai.usage import RunUsage

from ...domain.agent import (
    AgentFailure,
    ApprovalRequest,
    Approvals,
    Checkpoint,
    Context,
    Data,
    Finish,
    Output,
    TakeOver,
)
from ...domain.errors import ConfigurationError
from ...domain.requests import APPROVAL_TIMEOUT_S_MAX, APPROVALS_MAX
from ...domain.run_facts import Approval
from .prompts import prompt_of, require_prompt
from .pydantic_ai_outputs import Translation, failure_of, jsonable

_USAGE: Final = TypeAdapter(RunUsage)
_STOP_REASONS: Final[Mapping[str | None, str]] = {"length": "max_tokens", "content_filter": "content_filter"}


class Saved(BaseModel):
    """A checkpoint. `pending` are the calls whose approvals the segment ended with."""

    model_config = ConfigDict(frozen=True)
    messages: list[JsonValue]
    usage: dict[str, JsonValue]
    pending: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """What a segment begins with: a prompt, or the messages so far and decisions on the calls at their end."""

    messages: list[ModelMessage]
    usage: RunUsage
    prompt: str | None = None
    results: DeferredToolResults | None = None


class PydanticAgent:
    """Runs a Pydantic AI agent.

    `deps` makes the agent's dependencies of the run's context (`context.fence` is an idempotency key for its tools);
    `approval_timeout_s` is how long approvals stay open, None for the service's default.
    """

    def __init__(
        self,
        agent: AbstractAgent[Any, Any],
        *,
        name: str | None = None,
        on_take_over: TakeOver = "continue",
        deps: Callable[[Context], Any] | None = None,
        approval_timeout_s: float | None = None,
    ) -> None:
        """Raises ConfigurationError if there is no name to be had, or the time-out is impossible."""
        self._name = name or agent.name
        if not self._name:
            raise ConfigurationError("A Pydantic AI agent needs a name: Agent(..., name='chat').")
        if approval_timeout_s is not None and not 0 <= approval_timeout_s <= APPROVAL_TIMEOUT_S_MAX:
            raise ConfigurationError(f"approval_timeout_s is 0 to {APPROVAL_TIMEOUT_S_MAX:.0f}.")
        self._agent = agent
        self._on_take_over: TakeOver = on_take_over
        self._deps = deps
        self._approval_timeout_s = approval_timeout_s

    @property
    def name(self) -> str:
        """The agent's name."""
        return self._name or ""

    @property
    def on_take_over(self) -> TakeOver:
        """As given."""
        return self._on_take_over

    def validate(self, input: JsonValue) -> None:  # noqa: A002  - the wire's word
        """Accept a text, or an object with a `prompt`. Raises Invalid."""
        require_prompt(input)

    def prompt(self, input: JsonValue) -> str | None:  # noqa: A002  - the wire's word
        """The text the model is asked."""
        return prompt_of(input)

    async def run(self, context: Context) -> AsyncGenerator[Output, None]:
        """One segment. Raises AgentFailure for errors of the model; those of tools come through as they are."""
        start = self._start(context)
        try:
            async with self._agent.iter(
                start.prompt,
                message_history=start.messages,
                deferred_tool_results=start.results,
                usage=start.usage,
                output_type=_output_type(self._agent),
                deps=self._deps(context) if self._deps else None,
                run_id=context.fence,
                conversation_id=context.session_id,
                capabilities=[ReinjectSystemPrompt[Any](id=None)],
                infer_name=False,
            ) as run:
                async for output in _steps(run):
                    yield output
                for output in self._end(run):
                    yield output
        except Exception as error:
            failure = failure_of(error)
            if failure is None:
                raise
            raise failure from error

    def _start(self, context: Context) -> Start:
        if context.checkpoint is None:
            return Start(list(messages_of(context.history)), RunUsage(), self.prompt(context.input))
        saved = Saved.model_validate(context.checkpoint)
        messages = ModelMessagesTypeAdapter.validate_python(saved.messages)
        results = results_of(saved.pending, context.decisions) if saved.pending else None
        return Start(messages, _USAGE.validate_python(saved.usage), results=results)

    def _end(self, run: AgentRun[Any, Any]) -> Iterator[Output]:
        result = run.result
        if result is None:
            raise AgentFailure("internal_error", "Pydantic AI ended the run without a result.")
        if isinstance(result.output, DeferredToolRequests):
            yield self._approvals(run, result.output)
            return
        if not isinstance(result.output, str):
            yield Data("output", jsonable(result.output))
        yield Finish(_STOP_REASONS.get(result.response.finish_reason, "end_turn"), usage_of(result))

    def _approvals(self, run: AgentRun[Any, Any], asked: DeferredToolRequests) -> Approvals:
        if asked.calls:
            names = ", ".join(call.tool_name for call in asked.calls)
            message = f"The tools {names} wait for a result from outside; Reattach can wait for approvals only."
            raise AgentFailure("internal_error", message)
        if len(asked.approvals) > APPROVALS_MAX:
            message = f"The model asked for {len(asked.approvals)} approvals at once; {APPROVALS_MAX} is the limit."
            raise AgentFailure("llm_error", message)
        requests = [
            ApprovalRequest(call.tool_call_id, call.tool_name, call.args_as_dict(), self._approval_timeout_s)
            for call in asked.approvals
        ]
        return Approvals(requests, _save(run, pending=tuple(request.tool_call_id for request in requests)))


async def _steps(run: AgentRun[Any, Any]) -> AsyncGenerator[Output, None]:
    """The run's nodes, streamed, with a checkpoint wherever there is something new worth keeping."""
    translation = Translation()
    asked = worked = False
    async for node in run:
        if Agent.is_model_request_node(node):
            if worked:
                yield Checkpoint(_save(run, node.request))
            async with node.stream(run.ctx) as events:
                async for event in events:
                    for output in translation.outputs(event):
                        yield output
                for output in translation.rest(events.response):
                    yield output
            asked = True
        elif Agent.is_call_tools_node(node):
            if asked and node.model_response.tool_calls:
                yield Checkpoint(_save(run))
            async with node.stream(run.ctx) as tool_events:
                async for tool_event in tool_events:
                    for output in translation.outputs(tool_event):
                        yield output
            worked = True


def results_of(pending: Sequence[str], decisions: Sequence[Approval]) -> DeferredToolResults:
    """The decisions as Pydantic AI takes them. What runs is what was approved, with edited arguments where edited."""
    decided = {decision.tool_call_id: decision for decision in decisions}
    return DeferredToolResults(approvals={call_id: _result(decided[call_id]) for call_id in pending})


def _result(decision: Approval) -> ToolApproved | ToolDenied:
    if decision.outcome != "approve":
        return ToolDenied(f"The tool call was denied: {decision.reason}" if decision.reason else ToolDenied().message)
    if decision.decided_arguments == decision.arguments:
        return ToolApproved()
    if not isinstance(decision.decided_arguments, dict):
        return ToolDenied("The tool call was not made: the edited arguments are no JSON object.")
    return ToolApproved(override_args=cast("dict[str, Any]", decision.decided_arguments))


def messages_of(history: Sequence[Mapping[str, JsonValue]]) -> Iterator[ModelMessage]:
    """The session's earlier turns: what people and agents said. Calls stay out: this agent may not have those tools."""
    for message in history:
        parts = cast("Sequence[Mapping[str, str]]", message["parts"])
        texts = [part["text"] for part in parts if part["kind"] == "text" and part["text"]]
        if texts and message["role"] == "user":
            yield ModelRequest(parts=[UserPromptPart(text) for text in texts])
        elif texts and message["role"] == "assistant":
            yield ModelResponse(parts=[TextPart(text) for text in texts])


def usage_of(result: AgentRunResult[Any]) -> dict[str, JsonValue]:
    """What the run used, in Pydantic AI's words, without the zeros."""
    usage = cast("dict[str, JsonValue]", _USAGE.dump_python(result.usage, mode="json"))
    return {name: value for name, value in usage.items() if value}


def _save(run: AgentRun[Any, Any], request: ModelRequest | None = None, pending: tuple[str, ...] = ()) -> JsonValue:
    """The state to go on from: all messages, with the request that is about to be sent."""
    messages = run.all_messages() if request is None else [*run.all_messages(), request]
    saved = Saved(
        messages=ModelMessagesTypeAdapter.dump_python(messages, mode="json"),
        usage=_USAGE.dump_python(run.usage, mode="json"),
        pending=pending,
    )
    return saved.model_dump()


def _output_type(agent: AbstractAgent[Any, Any]) -> Any:
    """The agent's own output type, or requests for approval, which it need not have declared."""
    declared: Any = agent.output_type
    kinds = list(cast("Sequence[Any]", declared)) if isinstance(declared, list | tuple) else [declared]
    # Its validators speak of the declared type alone, so Pydantic AI takes no other then.
    if DeferredToolRequests in kinds or getattr(agent, "_output_validators", None):
        return None
    return [*kinds, DeferredToolRequests]
