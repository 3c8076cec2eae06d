"""The agent kit: write an agent as a function; its host gives it durability, cancellation, models and tools.

    from syntor.agentkit.context import TaskContext
    from syntor.agentkit.serving import serve_agent

    async def greet(task: TaskContext) -> str:
        answer = await task.ask_model("You greet people in one sentence.", task.input)
        return answer.text

    if __name__ == "__main__":
        serve_agent("manifest.yaml", greet)

What a model or a tool answered is in the log before the agent sees it: when the process dies, another one runs the
function again and gets the recorded answers until it reaches what was not done yet.
"""
