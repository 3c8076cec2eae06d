"""The agent kit: write an agent as a function; a worker gives it durability, cancellation, models and tools.

    from syntor.agentkit.context import TaskContext
    from syntor.agentkit.worker.entrypoint import serve_agent

    async def greet(task: TaskContext) -> str:
        completion = await task.prompt("You greet people in one sentence.", task.input)
        return completion.text

    if __name__ == "__main__":
        serve_agent("manifest.yaml", greet)

Model completions and tool results are recorded in the log before the agent sees them: when the process dies, another
one runs the function again and gets the recorded results up to the first call without one.

Packages, each importing only those below it: `worker` (hosting), `chat_agent` and `context` (what an agent is and is
given), `execution` (one task's log, tool calls and budgets), `tools`, `domain` (pure rules).
"""
