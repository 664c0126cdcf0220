"""x"""
class LSTMForecaster: pass
