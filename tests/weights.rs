//! What the weights that come with the crate are worth: the iterations of the deep conjugate direction method for right-hand
//! sides that no training draws.

#![cfg(all(feature = "graph", feature = "poisson", feature = "weights"))]

mod common;
#[path = "../examples/smoke/fluid.rs"]
#[allow(dead_code, reason = "the example tells more")]
mod fluid;
#[path = "../examples/common/iterations.rs"]
mod iterations;
#[path = "../examples/common/solvers.rs"]
#[allow(dead_code, reason = "only multigrid is used")]
mod solvers;
#[path = "../examples/train_dcdm/validation.rs"]
#[allow(dead_code, reason = "names are for the example's card")]
mod validation;

use common::gpu;
use gradus::gpu::Checks;
use gradus::poisson::Grid;
use gradus::poisson::dcdm::Weights;
use validation::{Obstacles, Rhs};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The most iterations to 1e-4 and, where asked for, to 1e-6.
struct Most {
    size: usize,
    obstacles: &'static [Obstacles],
    loose: usize,
    tight: Option<usize>,
}

const EMPTY: &[Obstacles] = &[Obstacles::None];
const SOME: &[Obstacles] = &[Obstacles::Ball, Obstacles::Rubble];

/// For each right-hand side, at most so many iterations, and fewer than a third of those of conjugate gradients.
async fn check(file: &[u8], dim: usize, open: bool, most: &[Most]) -> Result<()> {
    let gpu = gpu(Checks::Unchecked);
    let weights = Weights::from_safetensors(&gpu, file)?;
    assert_eq!(weights.architecture.dim, dim);
    for &Most { size, obstacles, loose, tight } in most {
        let walls = Grid::new(&vec![size; dim])?.with_open(&vec![[open; 2]; dim])?;
        for rhs in Rhs::ALL {
            let b = rhs.values(&gpu, &walls).await?;
            for obstacles in obstacles {
                let grid = obstacles.within(&walls)?;
                let deep = validation::deep(&gpu, &weights, &grid, &b).await?;
                let plain = validation::plain(&gpu, &grid, &b).await?;
                let case = format!("{size}, {}, {}: {deep:?}, of conjugate gradients {plain:?}", obstacles.name(), rhs.name());
                println!("{case}");
                assert!(deep[0].is_some_and(|iterations| iterations <= loose), "{case}");
                assert!(tight.is_none_or(|tight| deep[1].is_some_and(|iterations| iterations <= tight)), "{case}");
                assert!(
                    deep.iter().zip(plain).all(|(&deep, plain)| deep.zip(plain).is_some_and(|(deep, plain)| 3 * deep < plain)),
                    "{case}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn open_boxes_in_two_dimensions() {
    let most = [
        Most { size: 64, obstacles: EMPTY, loose: 18, tight: Some(28) },
        Most { size: 64, obstacles: SOME, loose: 40, tight: None },
        Most { size: 128, obstacles: EMPTY, loose: 32, tight: Some(45) },
    ];
    pollster::block_on(check(include_bytes!("../weights/dcdm-2d-open.safetensors"), 2, true, &most)).unwrap();
}

#[test]
fn boxes_of_walls_in_two_dimensions() {
    let most =
        [Most { size: 64, obstacles: EMPTY, loose: 25, tight: Some(40) }, Most { size: 64, obstacles: SOME, loose: 40, tight: None }];
    pollster::block_on(check(include_bytes!("../weights/dcdm-2d-box.safetensors"), 2, false, &most)).unwrap();
}

/// The largest grids that were trained with. On 64³, which takes a software driver minutes, see the card.
#[test]
fn open_boxes_in_three_dimensions() {
    let most = [Most { size: 32, obstacles: EMPTY, loose: 25, tight: None }];
    pollster::block_on(check(include_bytes!("../weights/dcdm-3d-open.safetensors"), 3, true, &most)).unwrap();
}

#[test]
fn boxes_of_walls_in_three_dimensions() {
    let most = [Most { size: 32, obstacles: EMPTY, loose: 25, tight: None }];
    pollster::block_on(check(include_bytes!("../weights/dcdm-3d-box.safetensors"), 3, false, &most)).unwrap();
}
