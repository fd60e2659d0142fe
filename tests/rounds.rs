//! Loops of more rounds than a software driver executes, which it ends without a word: 65,535 for an invocation, all its loops
//! together.

mod common;

use gradus::graph::{Graph, Plan, Stage, layers};
use gradus::{DType, Gpu, GpuOptions, Recording, Shape, Tensor, vector};

use common::*;
