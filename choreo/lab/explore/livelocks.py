"""Livelocks: strongly connected components without a way out, in which a fair execution may stay for ever.

Laws: examines the graph, not paths, so it is exact where paths join. Iterative: a long path takes no stack. Source: R.
Tarjan, *Depth-first search and linear graph algorithms*, SIAM Journal on Computing 1(2), 1972.
"""

from collections.abc import Callable, Iterable, Iterator


def components(nodes: Iterable[int], successors: Callable[[int], Iterable[int]]) -> Iterator[list[int]]:
    """Yield the strongly connected components reachable from the nodes, in reverse topological order."""
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: dict[int, None] = {}
    for root in nodes:
        if root in order:
            continue
        order[root] = low[root] = len(order)
        stack.append(root)
        on_stack[root] = None
        work = [(root, iter(tuple(successors(root))))]
        while work:
            node, rest = work[-1]
            child = next((n for n in rest if n not in order or n in on_stack), None)
            if child is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == order[node]:
                    yield _unwind(stack, on_stack, node)
            elif child in order:
                low[node] = min(low[node], order[child])
            else:
                order[child] = low[child] = len(order)
                stack.append(child)
                on_stack[child] = None
                work.append((child, iter(tuple(successors(child)))))


def traps(nodes: Iterable[int], successors: Callable[[int], Iterable[int]]) -> Iterator[list[int]]:
    """Yield the components that contain a cycle and have no edge out."""
    for component in components(nodes, successors):
        inside = dict.fromkeys(component)
        behind = [child for node in component for child in successors(node)]
        if behind and all(child in inside for child in behind):
            yield component


def _unwind(stack: list[int], on_stack: dict[int, None], node: int) -> list[int]:
    component = []
    while True:
        member = stack.pop()
        del on_stack[member]
        component.append(member)
        if member == node:
            return component
