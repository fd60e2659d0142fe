//! AdamP in Burn's tensor operations, as a program would write it without gradus: for comparison. Nothing is read back.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use burn_core as burn;
use burn_optim::GradientsParams;
use gradus::optim::AdamP;

/// The moments of all parameters, kept as gradients are.
pub struct TensorAdamP {
    options: AdamP,
    steps: i32,
    exp_avg: GradientsParams,
    exp_avg_sq: GradientsParams,
}

impl TensorAdamP {
    pub fn new(options: AdamP) -> Self {
        Self { options, steps: 0, exp_avg: GradientsParams::new(), exp_avg_sq: GradientsParams::new() }
    }

    pub fn step<M: Module>(&mut self, lr: f64, module: M, gradients: GradientsParams) -> M {
        self.steps += 1;
        module.map(&mut Update { optimizer: self, gradients, lr })
    }
}

struct Update<'a> {
    optimizer: &'a mut TensorAdamP,
    gradients: GradientsParams,
    lr: f64,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(g) = self.gradients.remove::<D>(param.id) else { return param };
        let (id, tensor, mapper) = param.consume();
        let requires_grad = tensor.is_require_grad();
        let p = tensor.inner();
        let TensorAdamP { options, steps, exp_avg, exp_avg_sq } = &mut *self.optimizer;
        let AdamP { betas: [beta1, beta2], eps, weight_decay, delta, wd_ratio, .. } = *options;
        let m = g.clone().mul_scalar(1.0 - beta1) + exp_avg.remove::<D>(id).unwrap_or_else(|| p.zeros_like()).mul_scalar(beta1);
        let v = g.clone().square().mul_scalar(1.0 - beta2) + exp_avg_sq.remove::<D>(id).unwrap_or_else(|| p.zeros_like()).mul_scalar(beta2);
        exp_avg.register(id, m.clone());
        exp_avg_sq.register(id, v.clone());
        let corrections = [beta1, beta2].map(|beta| 1.0 - beta.powi(*steps));
        let u = m / (v.sqrt().div_scalar(corrections[1].sqrt()).add_scalar(eps));

        let shape = p.dims();
        let rows = if D < 2 { 1 } else { shape[0] };
        let columns = shape.iter().product::<usize>() / rows;
        let [p, g, u] = [p, g, u].map(|x| x.reshape([rows, columns]));
        let (step_size, decay) = (self.lr / corrections[0], self.lr * weight_decay);
        let stepped = if D < 2 {
            p.mul_scalar(1.0 - decay) - u.mul_scalar(step_size)
        } else {
            let along = |x: Tensor<2>| x.sum_dim(1);
            let [pp, gg, pg, pu] = [p.clone().square(), g.clone().square(), p.clone() * g, p.clone() * u.clone()].map(along);
            let whole = |x: &Tensor<2>| x.clone().sum_dim(0);
            let cosine = |pp: Tensor<2>, gg: Tensor<2>, pg: Tensor<2>| pg.abs() / (gg.sqrt().clamp_min(eps) * pp.sqrt().clamp_min(eps));
            let coefficient = |pp: Tensor<2>, pu: Tensor<2>| pu / pp.sqrt().add_scalar(eps).square();
            let (all_pp, all_pu) = (whole(&pp), whole(&pu));
            let layer = cosine(all_pp.clone(), whole(&gg), whole(&pg)).lower_elem(delta / ((rows * columns) as f64).sqrt());
            let channel = cosine(pp.clone(), gg, pg).max_dim(0).lower_elem(delta / (columns as f64).sqrt());
            let none = all_pp.zeros_like();
            let of_layer = none.clone().mask_where(layer.clone(), coefficient(all_pp, all_pu)).expand([rows, 1]);
            let c = of_layer.mask_where(channel.clone().expand([rows, 1]), coefficient(pp, pu));
            let ratio = none.add_scalar(1.0).mask_fill(layer, wd_ratio).mask_fill(channel, wd_ratio);
            p.clone() * ratio.mul_scalar(-decay).add_scalar(1.0) - (u - c * p).mul_scalar(step_size)
        };
        let tensor = Tensor::from_inner(stepped.reshape(shape));
        Param::from_mapped_value(id, if requires_grad { tensor.require_grad() } else { tensor }, mapper)
    }
}
