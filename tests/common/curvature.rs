//! Models with curvature products computed elsewhere: the files of kind `curvature`, as graphs.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::HashMap;

use gradus::graph::{ConvolutionOptions, Graph, Padding, Var, Window, layers, losses};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::Value;

/// A model, its values and what is expected of it.
pub struct Case {
    pub graph: Graph,
    pub input: Var,
    pub target: Var,
    pub output: Var,
    pub loss: Var,
    /// In the order of the file.
    pub parameters: Vec<(String, Var)>,
    /// Of the input, the target and the parameters.
    pub values: HashMap<Var, Vec<f64>>,
    /// What the curvature matrices are multiplied with, a part for each parameter.
    pub vector: Vec<Vec<f64>>,
    /// By the name after `expect.`: `loss`, `output`, `gradient.0.weight` and so on.
    pub expected: HashMap<String, Vec<f64>>,
}

/// Builds the model of a file from its list of layers.
pub fn build(bytes: &[u8]) -> Case {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    let list: Vec<Vec<Value>> = serde_json::from_str(&metadata["layers"]).unwrap();
    let names: Vec<String> = serde_json::from_str(&metadata["parameters"]).unwrap();
    let shape = |name: &str| file.tensor(name).unwrap().shape().to_vec();

    let mut graph = Graph::new();
    let input = graph.input("input", &shape("input")).unwrap();
    let mut output = input;
    for (i, described) in list.iter().enumerate() {
        output = layer(&mut graph, &i.to_string(), output, described);
    }
    let (target, loss) = match metadata["loss"].as_str() {
        "mse" => {
            let target = graph.input("target", &shape("target")).unwrap();
            (target, losses::mean_squared_error(&mut graph, output, target))
        }
        "cross_entropy" => {
            let target = graph.indices("target", &shape("target")).unwrap();
            (target, losses::cross_entropy(&mut graph, output, target))
        }
        other => panic!("loss {other}"),
    };
    let known: HashMap<String, Var> = graph.parameters().map(|(name, var)| (name.to_owned(), var)).collect();
    assert_eq!(known.len(), names.len(), "{names:?}");
    let parameters: Vec<(String, Var)> = names.into_iter().map(|name| (name.clone(), known[&name])).collect();
    let mut values = HashMap::from([(input, numbers(&file, "input")), (target, numbers(&file, "target"))]);
    for (name, var) in &parameters {
        assert_eq!(graph.shape(*var).unwrap(), shape(&format!("param.{name}")), "{name}");
        values.insert(*var, numbers(&file, &format!("param.{name}")));
    }
    let vector = parameters.iter().map(|(name, _)| numbers(&file, &format!("vector.{name}"))).collect();
    let names = file.names().into_iter().filter_map(|name| name.strip_prefix("expect."));
    let expected = names.map(|name| (name.to_owned(), numbers(&file, &format!("expect.{name}")))).collect();
    Case { graph, input, target, output, loss: loss.unwrap(), parameters, values, vector, expected }
}

impl Case {
    /// The parameters' values.
    pub fn vars(&self) -> Vec<Var> {
        self.parameters.iter().map(|&(_, var)| var).collect()
    }

    /// What is expected of a product, or the gradient, one after another for all parameters.
    pub fn expected(&self, product: &str) -> Option<Vec<Vec<f64>>> {
        self.parameters.iter().map(|(name, _)| self.expected.get(&format!("{product}.{name}")).cloned()).collect()
    }
}

/// One entry of a file's list of layers.
fn layer(graph: &mut Graph, name: &str, x: Var, described: &[Value]) -> Var {
    let kind = described[0].as_str().unwrap();
    let number = |i: usize| described[i].as_u64().unwrap() as usize;
    let channels = graph.shape(x).unwrap().get(1).copied();
    let axes = graph.shape(x).unwrap().len().saturating_sub(2);
    match kind {
        "dense" => {
            assert_eq!(channels, Some(number(1)), "{described:?}");
            layers::dense(graph, name, x, number(2))
        }
        "conv1d" | "conv2d" | "conv3d" => {
            assert_eq!(channels, Some(number(1)), "{described:?}");
            let padding = match described[4].as_str().unwrap() {
                "same" => Padding::Same,
                "valid" => Padding::Valid,
                other => panic!("padding {other}"),
            };
            let options = ConvolutionOptions { padding, ..Default::default() };
            layers::convolution(graph, name, x, number(2), &vec![number(3); axes], &options)
        }
        "avgpool1d" | "avgpool2d" | "avgpool3d" => graph.avg_pool(x, &Window::tiles(number(1), axes)),
        "maxpool1d" | "maxpool2d" | "maxpool3d" => graph.max_pool(x, &Window::tiles(number(1), axes)),
        "upsample1d" | "upsample2d" | "upsample3d" => graph.upsample_nearest(x, number(1)),
        "flatten" => graph.flatten(x, 1),
        "relu" => graph.relu(x),
        "tanh" => graph.tanh(x),
        "sigmoid" => graph.sigmoid(x),
        "softplus" => graph.softplus(x),
        "gelu" => graph.gelu(x),
        "silu" => graph.silu(x),
        _ => panic!("layer {described:?}"),
    }
    .unwrap_or_else(|error| panic!("{described:?}: {error}"))
}

/// The elements of a tensor of floats or of classes.
fn numbers(file: &SafeTensors, name: &str) -> Vec<f64> {
    let view = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let data = view.data();
    match view.dtype() {
        Dtype::F32 => data.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
        Dtype::F64 => data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
        Dtype::U32 => data.as_chunks().0.iter().map(|&b| f64::from(u32::from_le_bytes(b))).collect(),
        other => panic!("{name}: {other:?}"),
    }
}
