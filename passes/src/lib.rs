//! Optimisation passes: graph to graph, graph to tile programs, memory plan.
