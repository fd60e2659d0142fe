//! The deep conjugate direction method.

use gradus::graph::Graph;
use gradus::poisson::dcdm::Architecture;

#[test]
fn published_networks() {
    let count = |architecture: Architecture| -> gradus::Result<usize> {
        let mut graph = Graph::new();
        let x = graph.input("x", &vec![1; architecture.dim + 2])?;
        architecture.build(&mut graph, x)?;
        graph.parameters().map(|(_, var)| Ok(graph.shape(var)?.iter().product::<usize>())).sum()
    };
    assert_eq!(count(Architecture::net_64(3)).unwrap(), 97_457);
    assert_eq!(count(Architecture::net_128(3)).unwrap(), 152_881);
    assert_eq!(count(Architecture::net_64(2)).unwrap(), 32_657);
}
