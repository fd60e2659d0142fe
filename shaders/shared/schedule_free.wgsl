// The average of schedule-free learning (Defazio et al. 2024, arXiv:2405.15682), as the authors' code computes it.
//
//   rate = lr min(1, t / warmup_steps);  lr_max = the largest rate so far
//   w = t^r lr_max^weight_lr_power;  weight_sum += w;  c = w / weight_sum, 0 where that is 0
#import shared/raised

fn prepare_average(k: ptr<function, Step>, momentum: f32) {
    let t = f32((*k).step);
    (*k).rate = (*k).lr * select(1.0, t / (*k).warmup_steps, t < (*k).warmup_steps);
    (*k).lr_max = max((*k).lr_max, (*k).rate);
    let weight = raised(t, (*k).r) * raised((*k).lr_max, (*k).weight_lr_power);
    (*k).weight_sum += weight;
    (*k).share = select(0.0, weight / (*k).weight_sum, (*k).weight_sum > 0.0);
    (*k).step_of_y = (*k).rate * (momentum * (1.0 - (*k).share) - 1.0);
}
