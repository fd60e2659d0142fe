// The bias corrections of Adam (Kingma & Ba 2015, section 3) and how PyTorch applies them:
//   step_size = lr / (1 - beta1^t);  root_scale = 1 / √(1 - beta2^t)
fn prepare(g: Group, k: ptr<function, Step>) {
    (*k).step_size = (*k).lr / correction(g.exact_beta1, (*k).step);
    (*k).root_scale = 1.0 / sqrt(correction(g.exact_beta2, (*k).step));
}
