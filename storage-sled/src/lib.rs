//! gimlet's embedded storage on sled: one process, one folder, nothing to install
