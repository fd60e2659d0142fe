//! The convolutional network for the digits.

use gradus::graph::{ConvolutionOptions, Graph, Padding, Var, Window, layers};

use crate::digits::CLASSES;

/// Two convolutions of 3 by 3, each with a rectifier and pooling, and a dense layer: logits `[n, 10]` of images `[n, 64]`.
pub fn cnn(graph: &mut Graph, images: Var, channels: [usize; 2]) -> gradus::Result<Var> {
    let n = graph.shape(images)?[0];
    let same = ConvolutionOptions { padding: Padding::Same, ..Default::default() };
    let mut x = graph.reshape(images, &[n, 1, 8, 8])?;
    for (name, channels) in ["conv1", "conv2"].into_iter().zip(channels) {
        x = layers::convolution(graph, name, x, channels, &[3, 3], &same)?;
        x = graph.relu(x)?;
        x = graph.max_pool(x, &Window::tiles(2, 2))?;
    }
    let x = graph.flatten(x, 1)?;
    layers::dense(graph, "head", x, CLASSES)
}
